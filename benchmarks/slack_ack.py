"""How fast Slack's events are acknowledged while turns run: Slack waits three seconds, we aim at one.

`python -m benchmarks.slack_ack` prints it alone. A scripted Slack and a scripted model in this process, Boswell in one of its
own: what is measured at the server includes the server's own share of the machine.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import ROOT, Failed, percentile
from tests.fakes.model_server import KEY, ModelServer, Reply
from tests.fakes.slack import Mode, SlackServer, free_port

EVENTS = 200
TURNS = 20  # that run meanwhile
MODES: tuple[Mode, ...] = ("socket", "http")


def measure_acks(mode: Mode) -> dict[str, float]:
    """Seconds from a payload's sending to its acknowledgement: the median, the 99th percentile, the worst.

    Raises `Failed` where not every event is acknowledged, or one only at a later try.
    """
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(mode, Path(folder)))


async def _measure(mode: Mode, folder: Path) -> dict[str, float]:
    answer = Reply(tuple(f"word {number} " for number in range(60)), pause=0.05)
    async with ModelServer(respond=lambda _: answer) as model, SlackServer() as slack:
        port = free_port()
        slack.first.quiet = True
        values = {
            "models": {
                "main": {
                    "provider": "openai",
                    "model": "bench",
                    "api_key": KEY,
                    "base_url": f"{model.url}/v1",
                }
            },
            "adapters": {"slack": slack.settings(mode, port)},
            "access": {"policy": "open"},
            "server": {"port": port},
            "data_dir": str(folder / "data"),
        }
        config = folder / "boswell.yaml"
        config.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
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
