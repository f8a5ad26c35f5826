"""What operators and their machines are told: /healthz, /readyz, /metrics, `boswell status` and traces, against real servers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families

from bot.telemetry import asked_for
from tests.fakes import telegram_server as api
from tests.fakes.model_server import Call, Fail, Reply, Request, Step
from tests.fakes.running import Running, asked, running
from tests.fakes.telegram_server import TOKEN

SERVED: dict[str, Any] = {"server": {"port": 0}}
PERSON = 700_800_900


async def port(b: Running) -> int:
    """Where it listens, once it does."""
    await b.until(lambda: any(line["event"] == "listening" for line in b.logs))
    return next(int(line["port"]) for line in b.logs if line["event"] == "listening")


async def get(b: Running, path: str) -> tuple[int, str]:
    address = f"http://127.0.0.1:{await port(b)}{path}"
    async with aiohttp.ClientSession() as client, client.get(address) as answer:
        return answer.status, await answer.text()


async def readiness(b: Running, ready: bool) -> dict[str, Any]:
    """What /readyz says, once it says this."""
    async with asyncio.timeout(10):
        while (answer := await get(b, "/readyz"))[0] != (200 if ready else 503):
            pass
    found: dict[str, Any] = json.loads(answer[1])
    assert found["ready"] is ready
    return found


async def counted(b: Running) -> dict[str, float]:
    """Every sample of /metrics, as `name{label="value"}` with the labels in order of their names."""
    _, text = await get(b, "/metrics")
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def respond(request: Request) -> Step:
    """An echo that looks at the clock first when asked to, and fails when asked to."""
    last = request.body["messages"][-1]
    if last["role"] == "tool":
        return Reply(("It is late.",))
    match asked(request):
        case "what time is it":
            return Reply(calls=(Call("clock"),))
        case "fail":
            return Fail(401, {"message": "no"})
        case text:
            return Reply(("You said: ", text))


async def talk(b: Running) -> None:
    """Some of everything: plain answers, a tool, a failing model, a command, 429s."""
    b.telegram.fault("sendMessage", api.too_many(0), api.too_many(0))
    for text, count in (
        ("hello", 1),
        ("what time is it", 2),
        ("fail", 3),
        ("/help", 4),
        ("a word of mine", 5),
    ):
        b.telegram.say(PERSON, PERSON, text, name="Annabel")
        await b.telegram.wait_for(lambda server, count=count: len(server.chat(PERSON).texts) == count)
    await b.answered(PERSON, "You said: a word of mine")


async def test_metrics_agree_with_what_the_servers_counted(tmp_path: Path) -> None:
    async with running(tmp_path, respond, **SERVED) as b:
        await talk(b)
        await b.until(lambda: b.rows("SELECT count(*) FROM outbox WHERE state = 'sent'") == [(5,)])
        found = await counted(b)
        calls = Counter(b.telegram.calls)
        finished = len(b.model.requests) - 1  # one was refused
        [(read, cached, written)] = b.rows("SELECT sum(input), sum(cached), sum(output) FROM usage")
        ledger = {row[0]: row[1] for row in b.rows("SELECT outcome, count(*) FROM turns GROUP BY outcome")}

    def value(name: str, **labels: str) -> float:
        inside = ",".join(f'{label}="{labels[label]}"' for label in sorted(labels))
        return found[f"boswell_{name}{{{inside}}}"]

    sends = {verb: value("sends_total", platform="telegram", verb=verb) for verb in ("post", "edit")}
    limited = value("rate_limited_total", platform="telegram")
    assert limited == 2
    assert sends == {"post": calls["sendMessage"] - limited, "edit": calls["editMessageText"]}
    assert found.get('boswell_sends_total{platform="telegram",verb="typing"}', 0) == calls["sendChatAction"]
    tokens = {kind: value("tokens_total", model="main", kind=kind) for kind in ("input", "cached", "output")}
    assert tokens == {"input": 100 * finished, "cached": 64 * finished, "output": 20 * finished}
    assert tokens == {"input": read, "cached": cached, "output": written}
    assert value("model_calls_total", model="main", result="finished") == finished
    assert value("model_calls_total", model="main", result="ModelUnauthorized") == 1
    assert value("errors_total", where="model", kind="ModelUnauthorized") == 1
    prefix = "boswell_turns_total{outcome="
    turns = {name.split('"')[1]: int(count) for name, count in found.items() if name.startswith(prefix)}
    assert turns == ledger
    assert turns["answered"] == 3
    assert value("turn_seconds_count", platform="telegram") == 4
    assert value("first_text_seconds_count", platform="telegram") == 4
    assert value("adapter_up", adapter="telegram") == 1
    assert value("queue_depth", queue="inbox", platform="telegram") == 0
    assert value("queue_depth", queue="outbox", platform="telegram") == 0


async def test_what_is_owed_is_seen_with_its_age(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, lambda _: Reply(("Half", gate, " and whole")), **SERVED) as b:
        b.telegram.say(1, 1, "go")
        await b.shows(1, "Half")
        b.telegram.say(1, 1, "and then")
        await b.until(lambda: b.rows("SELECT count(*) FROM inbox WHERE state = 'waiting'") == [(1,)])
        found = await counted(b)
        assert found['boswell_queue_depth{platform="telegram",queue="inbox"}'] == 2
        assert 0 < found['boswell_queue_oldest_seconds{platform="telegram",queue="inbox"}'] < 60
        gate.set()
        await b.shows(1, "Half and whole", "Half and whole")


async def test_nothing_that_is_told_holds_a_word_a_name_an_id_or_a_secret(tmp_path: Path) -> None:
    async with running(tmp_path, respond, **SERVED) as b:
        await talk(b)
        told = "".join([(await get(b, path))[1] for path in ("/metrics", "/readyz", "/healthz", "/nothing")])
    for private in (TOKEN, TOKEN.partition(":")[2], str(PERSON), "Annabel", "of mine", "hello"):
        assert private not in told


async def both(b: Running, ready: bool, state: str) -> None:
    """/readyz and `boswell status` say this, and the same."""
    assert (await readiness(b, ready))["adapters"] == {"telegram": state}
    if state != "silent":  # nobody says that: it is concluded
        await b.until(lambda: b.state()[0] == state)
    status = await b.boswell("status", "--json")
    report = json.loads(status.output)
    assert (status.exit_code == 0, report["healthy"]) == (ready, ready)
    assert report["adapters"]["telegram"]["state"] == state


async def test_ready_only_once_the_platform_has_answered_and_status_says_the_same(tmp_path: Path) -> None:
    answers = asyncio.Event()
    async with running(tmp_path, respond, **SERVED) as b:
        b.telegram.fault("getMe", api.held(answers))
        await both(b, False, "starting")
        assert (await get(b, "/healthz"))[0] == 200, "it lives, although it receives nothing yet"
        answers.set()
        await both(b, True, "up")
        b.telegram.fault("getUpdates", api.conflict())
        b.telegram.say(1, 1, "hi")  # wakes the poll that is under way; the next one meets the fault
        await both(b, False, "down")
        assert (await counted(b))['boswell_adapter_up{adapter="telegram"}'] == 0


async def test_a_platform_that_falls_silent_is_not_ready_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, skew = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + skew)
    async with running(tmp_path, respond, **SERVED) as b:
        await both(b, True, "up")
        await b.until(lambda: b.telegram.calls["getUpdates"] > 1)  # the first one asks for nothing to be held
        skew = 200.0  # and the poll that is under way is not answered
        await both(b, False, "silent")
        b.telegram.say(1, 1, "hi")
        await both(b, True, "up")


async def test_not_ready_while_it_stops_and_still_answering(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running(tmp_path, lambda _: Reply(("Half", gate, " and whole")), **SERVED) as b:
        b.telegram.say(1, 1, "go")
        await b.shows(1, "Half")
        await readiness(b, True)
        stopping = asyncio.create_task(b.stop())
        assert (await readiness(b, False))["phase"] == "stopping"
        assert (await get(b, "/healthz"))[0] == 200
        gate.set()
        await stopping
        assert b.telegram.chat(1).texts == ["Half and whole"]


async def test_no_port_is_opened_where_nothing_needs_it(tmp_path: Path) -> None:
    async with running(tmp_path, respond) as b:
        b.telegram.say(1, 1, "hi")
        await b.shows(1, "You said: hi")
        assert not [line for line in b.logs if line["event"] == "listening"]


# Traces


class Receiver:
    """Takes traces by OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    async def take(self, request: web.Request) -> web.Response:
        assert request.path == "/v1/traces"
        self.headers.append(dict(request.headers))
        for batch in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            self.resources.append(attributes(batch.resource))
            self.spans += [span for scope in batch.scope_spans for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def attributes(of: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


@asynccontextmanager
async def receiving(monkeypatch: pytest.MonkeyPatch, *, silent: bool = False) -> AsyncIterator[Receiver]:
    """A receiver, and the environment that leads there. A silent one takes connections and never answers."""
    receiver, over = Receiver(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if silent:
            await over.wait()
        return await receiver.take(request)  # type: ignore[arg-type]  # a base request has all that is read

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    try:
        yield receiver
    finally:
        over.set()
        await runner.cleanup()


async def test_a_turn_is_a_trace_with_its_calls_and_its_delivery_below_it_and_nobodys_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as receiver, running(tmp_path, respond) as b:
        for text, count in (("what time is it", 1), ("fail", 2), ("/help", 3)):
            b.telegram.say(PERSON, PERSON, text, name="Annabel")
            await b.telegram.wait_for(
                lambda server, count=count: len(server.chat(PERSON).texts) == count  # type: ignore[misc]  # bound now
            )
        # What was not sent yet is sent on the way down
    assert receiver.resources[0]["service.name"] == "boswell"
    answered, failed = receiver.named("turn")
    told = attributes(answered)
    assert (told["boswell.platform"], told["boswell.outcome"]) == ("telegram", "answered")
    assert attributes(failed)["boswell.outcome"].startswith("failed:")
    assert failed.status.code == Status.STATUS_CODE_ERROR
    below = [span for span in receiver.spans if span.parent_span_id == answered.span_id]
    assert sorted(span.name for span in below) == ["delivery", "model main", "model main", "tool clock"]
    assert {span.trace_id for span in below} == {answered.trace_id}
    used = [attributes(span) for span in below if span.name == "model main"]
    assert [(u["gen_ai.usage.input_tokens"], u["gen_ai.usage.output_tokens"]) for u in used] == [
        (100, 20)
    ] * 2
    (refused,) = [s for s in receiver.named("model main") if s.parent_span_id == failed.span_id]
    assert attributes(refused)["error.type"] == "ModelUnauthorized"
    everything = str(receiver.spans) + str(receiver.resources)
    for private in (str(PERSON), "Annabel", "what time", "It is late", TOKEN.partition(":")[2]):
        assert private not in everything


async def test_a_turn_that_is_cut_off_is_in_the_traces_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.app.DRAIN", 0.1)
    async with (
        receiving(monkeypatch) as receiver,
        running(tmp_path, lambda _: Reply(("Half", asyncio.Event()))) as b,
    ):
        b.telegram.say(1, 1, "go")
        await b.shows(1, "Half")
        await b.stop()
        (turn,) = receiver.named("turn")
    assert attributes(turn)["boswell.outcome"] == "cut off"


async def test_a_receiver_that_does_not_answer_holds_up_neither_a_turn_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    async with receiving(monkeypatch, silent=True), running(tmp_path, respond) as b:
        b.telegram.say(1, 1, "hi")
        await b.shows(1, "You said: hi")
        began = loop.time()
        await b.stop()
        assert loop.time() - began < 5
        assert [line for line in b.logs if line["event"] == "traces_not_sent"]


async def test_without_the_variables_nothing_of_it_is_there(tmp_path: Path) -> None:
    async with running(tmp_path, respond) as b:
        b.telegram.say(1, 1, "hi")
        await b.shows(1, "You said: hi")
        assert not [t for t in threading.enumerate() if "Otel" in t.name]


async def test_variables_without_the_extra_are_one_warning_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as if it were not installed
    async with running(tmp_path, respond) as b:
        b.telegram.say(1, 1, "hi")
        await b.shows(1, "You said: hi")
        (line,) = [line for line in b.logs if line["event"] == "no_traces"]
    assert "boswell[otel]" in line["note"]


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://here"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://here"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://here"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://here"}, False),
    ],
)
def test_the_usual_variables_decide(environ: dict[str, str], wanted: bool) -> None:
    assert asked_for(environ) is wanted


def test_the_terminal_alone_opens_no_port_whatever_the_configuration_says(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {
            "server": {"port": taken.getsockname()[1]},
            "models": {"main": {"provider": "demo"}},
            "adapters": {"console": {}},
        }
        (tmp_path / "boswell.yaml").write_text(json.dumps(values))
        ended = {
            command: subprocess.run(
                [sys.executable, "-m", "bot.cli", command],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                input="/exit\n",
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            for command in ("chat", "run")
        }
    assert ended["chat"].returncode == 0, ended["chat"].stderr
    assert ended["run"].returncode == 1
    assert "can not be listened on" in ended["run"].stderr
