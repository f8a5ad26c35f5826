"""How fast Slack's events are acknowledged while turns run: Slack waits three seconds, we aim at one.

`python -m benchmarks.slack_ack` prints it alone. A scripted Slack and a scripted model in this process, Boswell in one of its
own: what is measured at the server includes the server's own share of the machine.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from benchmarks.measure import ROOT, Failed, percentile
from tests.fakes.model_server import KEY, ModelServer, Reply
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, SlackServer

EVENTS = 200
TURNS = 20  # that run meanwhile
MODES = ("socket", "http")
_CONFIG = """\
models:
  main: {{provider: openai, model: bench, api_key: {key}, base_url: "{model}/v1"}}
adapters:
  slack: {{bot_token: "{token}", {way}, base_url: "{slack}"}}
access: {{policy: open}}
server: {{port: {port}}}
data_dir: {data}
"""


def measure_acks(mode: str) -> dict[str, float]:
    """Seconds from a payload's sending to its acknowledgement: the median, the 99th percentile, the worst.

    Raises `Failed` where not every event is acknowledged, or one only at a later try.
    """
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(mode, Path(folder)))


async def _measure(mode: str, folder: Path) -> dict[str, float]:
    answer = Reply(tuple(f"word {number} " for number in range(60)), pause=0.05)
    async with ModelServer(respond=lambda _: answer) as model, SlackServer() as slack:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        sockets = mode == "socket"
        way = f'app_token: "{APP_TOKEN}"' if sockets else f'signing_secret: "{SIGNING_SECRET}"'
        slack.deliveries.mode = "socket" if sockets else "http"
        slack.deliveries.url = f"http://127.0.0.1:{port}/slack/events"
        slack.first.quiet = True
        config = folder / "boswell.yaml"
        config.write_text(
            _CONFIG.format(
                key=KEY,
                model=model.url,
                token=BOT_TOKEN,
                way=way,
                slack=slack.base_url,
                port=port,
                data=folder / "data",
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "bot.cli", "run", "--config", str(config)]
        log = folder / "log.txt"
        with log.open("wb") as errors:
            process = subprocess.Popen(command, cwd=ROOT, stdout=errors, stderr=errors)
        try:
            for number in range(TURNS):
                slack.say(f"C{number:04}", f"U{number:04}", "@boswell begin")
            async with asyncio.timeout(60):
                await slack.wait_for(lambda s: len([m for m in _ours(s) if m]) >= TURNS, 60)
            before = len(slack.deliveries.all)
            for number in range(EVENTS):
                slack.say(f"D{number:04}", f"U{number:04}", "hello")
            await slack.wait_for(lambda s: not s.deliveries.waiting, 60)
        except TimeoutError:
            raise Failed(
                f"slack over {mode}: not everything was acknowledged; {log.read_text()[-500:]}"
            ) from None
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 15)
        sent = slack.deliveries.all[before:]
        if repeated := [delivery for delivery in sent if delivery.attempts > 1]:
            raise Failed(f"slack over {mode}: {len(repeated)} events had to be sent again")
        acks = [delivery.acked or 0.0 for delivery in sent]
        return {
            "median_s": statistics.median(acks),
            "p99_s": percentile(acks, 0.99),
            "worst_s": max(acks),
        }


def _ours(slack: SlackServer) -> list[str]:
    return [text for place in slack.first.channels.values() for text in place.texts()]


def main() -> None:
    for mode in MODES:
        found = measure_acks(mode)
        print(
            f"{EVENTS} events at once over {mode}, {TURNS} turns running: acknowledged after "
            f"{found['median_s']:.3f} s (median), {found['p99_s']:.3f} s (99 %), {found['worst_s']:.3f} s (worst)"
        )


if __name__ == "__main__":
    main()
