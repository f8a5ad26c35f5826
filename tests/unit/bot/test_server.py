"""The HTTP port, as strangers find it: raw sockets against the real server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.base import HttpRequest, HttpResponse, Route
from bot import health, server
from bot.health import Vitals
from bot.metrics import Counters
from config.schema import ServerConfig
from memory.database import Database, open_database

END = b"Host: here\r\nConnection: close\r\n\r\n"


class _Over(Exception):
    pass


async def _echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(201, f"{len(request.body)} {request.query.get('q', '')}", headers={"X-Own": "yes"})


async def _broken(_: HttpRequest) -> HttpResponse:
    raise ValueError("the secret words")


ROUTES = [Route("GET", "/echo", _echo), Route("POST", "/echo", _echo), Route("GET", "/broken", _broken)]


@asynccontextmanager
async def listening(*routes: Route) -> AsyncIterator[int]:
    """The server with these routes; its port."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield await server.serve(ServerConfig(port=0), [*ROUTES, *routes], tasks)
            raise _Over  # noqa: TRY301 - ends the group
    except* _Over:
        pass


async def ask(port: int, *pieces: bytes) -> str:
    """Everything that comes back for these bytes, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            for piece in pieces:
                writer.write(piece)
            return (await reader.read()).decode()
    finally:
        writer.close()


async def drip(port: int, start: bytes, pause: float = 0.01) -> str:
    """Send `start` and then byte after byte, for as long as the server takes them; what it said to that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(reader.read())
    writer.write(start)
    try:
        async with asyncio.timeout(10):
            while not answer.done():
                writer.write(b"a")
                await asyncio.wait([answer], timeout=pause)
        return b"".join([answer.result()]).decode()
    except ConnectionError:
        return ""
    finally:
        answer.cancel()
        writer.close()


async def test_a_route_is_answered_with_its_status_its_headers_and_no_banner() -> None:
    async with listening() as port:
        answer = await ask(port, b"POST /echo?q=x HTTP/1.1\r\nContent-Length: 3\r\n" + END + b"abc")
    assert answer.startswith("HTTP/1.1 201 ")
    assert answer.endswith("\r\n\r\n3 x")
    assert "X-Own: yes" in answer
    assert "\nServer:" not in answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n" + END, 404),
        (b"GET /echo/ HTTP/1.1\r\n" + END, 404),
        (b"GET /../echo HTTP/1.1\r\n" + END, 404),
        (b"DELETE /echo HTTP/1.1\r\n" + END, 405),
        (b"POST /broken HTTP/1.1\r\n" + END, 405),
        (b"\x16\x03\x01 hello TLS\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + END, 400),
        (b"GET /echo HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n" + END, 400),
        (b"GET /echo HTTP/1.1\r\n" + b"".join(b"H%d: 1\r\n" % i for i in range(80)) + END, 400),
        (b"POST /echo HTTP/1.1\r\nContent-Length: x\r\n" + END, 400),
    ],
    ids=["unknown", "slash", "dots", "method", "other-method", "tls", "line", "header", "headers", "length"],
)
async def test_what_is_not_meant_gets_a_plain_word_and_no_log_line(sent: bytes, status: int) -> None:
    with capture_logs() as logs:
        async with listening() as port:
            answer = await ask(port, sent)
    head, _, body = answer.partition("\r\n\r\n")
    assert f" {status} " in head.splitlines()[0]
    assert "Content-Type: text/plain" in head
    assert "\nServer:" not in head
    assert len(body) < 30
    assert [line["event"] for line in logs] == ["listening"]


async def test_head_is_get_without_its_body() -> None:
    async with listening() as port:
        answer = await ask(port, b"HEAD /echo HTTP/1.1\r\n" + END)
    assert answer.startswith("HTTP/1.1 201 ")
    assert answer.endswith("\r\n\r\n")


async def test_a_route_that_breaks_tells_the_log_its_kind_and_the_client_nothing() -> None:
    with capture_logs() as logs:
        async with listening() as port:
            answer = await ask(port, b"GET /broken HTTP/1.1\r\n" + END)
    assert " 500 " in answer
    assert "secret" not in answer
    assert "ValueError" not in answer
    (line,) = [line for line in logs if line["event"] == "route_broke"]
    assert (line["path"], line["error"]) == ("/broken", "ValueError")
    assert "secret" not in str(line)


async def test_a_body_that_is_too_long_is_declined() -> None:
    size = server.MAX_BODY + 1
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
        assert b" 413 " in await reader.readline()
        writer.close()


async def test_a_head_that_comes_byte_by_byte_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD", 0.2)
    async with listening() as port:
        assert await drip(port, b"GET /echo HTTP/1.1\r\nX: ") == ""


async def test_a_second_head_that_comes_byte_by_byte_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD", 0.2)
    async with listening() as port:
        answer = await drip(port, b"GET /echo HTTP/1.1\r\nHost: here\r\n\r\nGET /echo HTTP/1.1\r\nX: ")
    assert answer.count("HTTP/1.1 ") == 1


async def test_a_body_that_comes_byte_by_byte_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY", 0.2)
    async with listening() as port:
        answer = await drip(port, b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n")
    assert answer == "" or answer.startswith(
        "HTTP/1.1 408 "
    )  # what was not read resets the connection, at times before that


async def test_a_route_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: HttpRequest) -> HttpResponse:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(server, "ANSWER", 0.05)
    async with listening(Route("GET", "/never", never)) as port:
        assert " 503 " in await ask(port, b"GET /never HTTP/1.1\r\n" + END)


async def test_two_hundred_slow_clients_keep_nobody_from_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD", 1.0)
    async with listening() as port:
        slow = [asyncio.create_task(drip(port, b"GET /echo HTTP/1.1\r\nX: ", pause=0.2)) for _ in range(200)]
        for _ in range(10):
            async with asyncio.timeout(1):
                assert " 201 " in await ask(port, b"GET /echo HTTP/1.1\r\n" + END)
        assert set(await asyncio.gather(*slow)) == {""}


async def test_too_many_connections_cost_the_longest_standing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 5)
    async with listening() as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        assert " 201 " in await ask(port, b"GET /echo HTTP/1.1\r\n" + END)
        async with asyncio.timeout(5):
            assert await held[0][0].read() == b""
        held[-1][1].write(b"GET /echo HTTP/1.1\r\n" + END)
        assert b" 201 " in await held[-1][0].readline()
        for _, writer in held:
            writer.close()


async def test_a_taken_port_is_told_in_words() -> None:
    async with listening() as port, asyncio.TaskGroup() as tasks:
        with pytest.raises(server.ServerNotOpened, match=f"{port} can not be listened on"):
            await server.serve(ServerConfig(port=port), ROUTES, tasks)


# Whether it lives


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[tuple[int, Vitals, Database]]:
    """The server with the routes that operators ask, over a real database."""
    async with open_database(folder / "boswell.db") as database:
        vitals = Vitals(database, ["memory"])
        async with listening(*server.own_routes(vitals, Counters(), database)) as port:
            yield port, vitals, database


async def get(port: int, path: str) -> str:
    return await ask(port, f"GET {path} HTTP/1.1\r\n".encode() + END)


async def test_healthz_says_so_when_the_database_can_not_be_written_and_when_it_can_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE", 0.1)
    monkeypatch.setattr(health, "FRESH", 0.0)
    async with asked(tmp_path) as (port, vitals, _):
        assert " 200 " in await get(port, "/healthz")
        with closing(sqlite3.connect(tmp_path / "boswell.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert " 503 " in await get(port, "/healthz")
            assert "boswell_database_up 0.0" in await get(port, "/metrics")
            other.execute("ROLLBACK")
        while not await vitals.alive():  # what waits in the database's thread goes first
            pass
        assert " 200 " in await get(port, "/healthz")


async def test_asking_a_hundred_times_costs_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(tmp_path) as (port, _, database):
        monkeypatch.setattr(health, "FRESH", 60.0)
        before = await database.read(lambda tx: tx.one("probe_get"))
        await asyncio.gather(*(get(port, "/healthz") for _ in range(50)))
        first = await database.read(lambda tx: tx.one("probe_get"))
        assert before is None
        for _ in range(50):
            assert " 200 " in await get(port, "/healthz")
        last = await database.read(lambda tx: tx.one("probe_get"))
    assert last["since"] == first["since"]


async def test_a_thousandth_probe_of_a_hanging_database_does_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE", 0.01)
    monkeypatch.setattr(health, "FRESH", 0.0)
    async with asked(tmp_path) as (_, vitals, database):
        with closing(sqlite3.connect(tmp_path / "boswell.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert not any([await vitals.alive() for _ in range(20)])
            assert len([t for t in asyncio.all_tasks() if t.get_name() == "database probe"]) == 1
            other.execute("ROLLBACK")
        await database.read(lambda tx: tx.one("probe_get"))


async def test_nothing_is_ready_before_it_runs(tmp_path: Path) -> None:
    async with asked(tmp_path) as (port, vitals, _):
        answer = await get(port, "/readyz")
        assert " 503 " in answer
        assert '"memory": "starting"' in answer
        vitals.phase = "running"
        assert " 503 " in await get(port, "/readyz"), "the adapter has not been heard of"
