"""Kill -9 at random instants of busy traffic, start again, and count what was lost or doubled; see `tests.fakes.soak`.

`make soak` kills at least 200 times, `make test` a few times.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.fakes import soak
from tests.fakes.model_server import ModelServer
from tests.fakes.telegram_server import TelegramServer

CHATS = 20
KILLS = soak.kills(12)


class Crowd(soak.Crowd):
    """Each person in a private chat."""

    server: TelegramServer

    def __init__(self, telegram: TelegramServer, dice: random.Random) -> None:
        super().__init__(telegram, CHATS, [f"telegram-{place + 1}" for place in range(CHATS)], dice)

    def speak(self, place: int, words: str) -> None:
        self.server.say(place + 1, place + 1, words)

    def texts(self, place: int) -> list[str]:
        return self.server.chat(place + 1).texts


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_killed_at_any_instant_nothing_is_lost_and_nothing_said_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(soak.SEED)
    async with ModelServer(respond=soak.answer) as model, TelegramServer() as telegram:
        crowd = Crowd(telegram, dice)
        settings = {"token": telegram.token, "base_url": telegram.url, "messages_per_second": 10_000}
        boswell = soak.Boswell(tmp_path, "telegram", settings, model)
        for _ in range(KILLS):
            polled = telegram.calls["getUpdates"]
            boswell.start()
            async with crowd.talking():
                if dice.random() < 0.7:  # else it is killed while it starts, or soon after
                    await telegram.wait_for(lambda server, n=polled: server.calls["getUpdates"] > n, 30)
                await asyncio.sleep(dice.uniform(0.1, 0.9))
                await boswell.kill()
        boswell.start()
        crowd.say_everywhere()
        await crowd.satisfied(model, 60)
        await boswell.stop()
        count = boswell.count(crowd)

    stubs = count.other.count("…")
    count.other = [text for text in count.other if text != "…"]
    with capsys.disabled():
        print(count.told("soak", KILLS, placeholders_left_in_the_named_window=stubs))
    count.check()
