"""Kill -9 at random instants of busy traffic on Discord, start again, and count what was lost or doubled.

People go on writing while it is down. `make soak` kills at least 100 times, `make test` a few times; see `tests.fakes.soak`.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.fakes import soak
from tests.fakes.discord_server import DiscordServer
from tests.fakes.model_server import ModelServer

PEOPLE = 10
KILLS = soak.kills(12)


class Crowd(soak.Crowd):
    """Each person in a direct conversation and in a channel."""

    server: DiscordServer

    def __init__(self, discord: DiscordServer, dice: random.Random) -> None:
        people = range(1, PEOPLE + 1)
        guild = discord.guild()
        self.channels = [discord.dm(person).id for person in people]
        self.channels += [discord.channel(guild, name=f"room-{person}").id for person in people]
        super().__init__(discord, len(self.channels), [f"discord-{person}" for person in people], dice)

    def speak(self, place: int, words: str) -> None:
        to = "" if place < PEOPLE else f"{self.server.mention} "
        self.server.say(self.channels[place], place % PEOPLE + 1, to + words)

    def texts(self, place: int) -> list[str]:
        return self.server.texts(self.channels[place])


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_killed_at_any_instant_nothing_is_lost_and_nothing_said_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(soak.SEED)
    async with ModelServer(respond=soak.answer) as model, DiscordServer() as discord:
        crowd = Crowd(discord, dice)
        discord.lag["create_message"] = 0.05  # so that kills fall between a post and our knowing of it
        addresses = {"base_url": discord.base_url, "gateway_url": discord.gateway_url}
        settings = {"token": discord.token, **addresses, "message_content": True}
        boswell = soak.Boswell(tmp_path, "discord", settings, model)

        # Discord tells a bot of no direct conversation but by a message in it, so one that it never met is not looked for
        boswell.start()
        await discord.wait_for(lambda s: s.gateway.online(), 30)
        crowd.say_everywhere()
        await crowd.satisfied(model, 60)
        await boswell.kill()

        for _ in range(KILLS):
            async with crowd.talking():
                await asyncio.sleep(dice.uniform(0.0, 0.2))  # while it is down
                boswell.start()
                await asyncio.sleep(
                    dice.uniform(0.1, 1.8)
                )  # long enough that no turn is cut off twelve times
                await boswell.kill()
        boswell.start()
        crowd.say_everywhere()
        await crowd.satisfied(model, 120)
        await boswell.stop()
        count = boswell.count(crowd)

    with capsys.disabled():
        repeats = discord.rest.repeats
        print(count.told("discord soak", KILLS, posts_that_their_nonce_kept_from_standing_twice=repeats))
    count.check()
    assert discord.state.pinged == []
    assert discord.rest.syncs == 1
