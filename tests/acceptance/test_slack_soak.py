"""Kill -9 at random instants of busy traffic on Slack, start again, and count what was lost or doubled; in both modes.

People go on writing while it is down, and Slack gives its deliveries up after three retries, so that what is missing must be
fetched. `make soak` kills at least 100 times in each mode, `make test` a few times; see `tests.fakes.soak`.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.fakes import soak
from tests.fakes.model_server import ModelServer
from tests.fakes.slack import Mode, SlackServer, free_port

PEOPLE = 10
KILLS = soak.kills(6)


class Crowd(soak.Crowd):
    """Each person in a direct conversation and in a thread of a channel."""

    server: SlackServer

    def __init__(self, slack: SlackServer, dice: random.Random) -> None:
        self.people = [f"U{number:03}" for number in range(1, PEOPLE + 1)]
        self.channels = [f"{kind}{user[1:]}" for kind in "DC" for user in self.people]
        self.threads: dict[int, str] = {}
        super().__init__(slack, len(self.channels), [f"slack-T1-{user}" for user in self.people], dice)
        for place, channel in enumerate(self.channels):
            slack.channel(channel, slack.first.person(self.people[place % PEOPLE]))

    def speak(self, place: int, words: str) -> None:
        thread = self.threads.get(place, "")
        mention = "" if place < PEOPLE or thread else "@boswell "
        ts = self.server.say(self.channels[place], self.people[place % PEOPLE], mention + words, thread)
        if place >= PEOPLE:
            self.threads.setdefault(place, ts)

    def texts(self, place: int) -> list[str]:
        return self.server.texts(self.channels[place])


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_killed_at_any_instant_nothing_is_lost_and_nothing_said_twice(
    tmp_path: Path, mode: Mode, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(soak.SEED)
    async with ModelServer(respond=soak.answer) as model, SlackServer() as slack:
        crowd = Crowd(slack, dice)
        port = free_port()
        settings = slack.settings(mode, port)
        boswell = soak.Boswell(tmp_path, "slack", settings, model, server={"port": port})

        # Slack tells of no conversation but by a message in it: the ones that it has met are those that it looks through
        boswell.start()
        crowd.say_everywhere()
        await crowd.satisfied(model, 60)
        await slack.wait_for(lambda s: not s.deliveries.waiting, 60)
        await boswell.kill()

        slack.deliveries.lose_patience(0.01, 0.05, 0.1)
        for _ in range(KILLS):
            async with crowd.talking():
                await asyncio.sleep(dice.uniform(0.0, 0.6))  # while it is down
                boswell.start()
                # Long enough that hardly a turn is cut off twelve times in a row, after which it is given up
                await asyncio.sleep(dice.uniform(0.3, 2.0))
                await boswell.kill()
        given_up = sum(delivery.given_up for delivery in slack.deliveries.all)
        boswell.start()
        await slack.wait_for(lambda s: s.calls["auth.test"] > KILLS, 30)
        slack.deliveries.be_patient()
        crowd.say_everywhere()
        await crowd.satisfied(model, 180)
        await boswell.stop()
        count = boswell.count(crowd)
        streaming = [m for c in slack.first.channels.values() for m in c.ours() if m.state == "streaming"]

    with capsys.disabled():
        more = {"deliveries_given_up": given_up, "streams_left_open": len(streaming)}
        print(count.told(f"slack soak over {mode}", KILLS, **more))
    count.check()
    assert streaming == []
    assert given_up > 0, "nothing had to be fetched: Slack was too patient"
