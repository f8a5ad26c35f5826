"""Places: turns at a time, per person and in all, taken in turn."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from bot.places import Places


@dataclass
class Crowd:
    """Turns that take places, and go when they are told to."""

    places: Places
    inside: list[tuple[str, int]] = field(default_factory=list)
    tasks: dict[tuple[str, int], tuple[asyncio.Task[None], asyncio.Event]] = field(default_factory=dict)

    async def come(self, user: str) -> tuple[str, int]:
        name, go = (user, len(self.tasks)), asyncio.Event()

        async def turn() -> None:
            async with self.places.taken(user):
                self.inside.append(name)
                try:
                    await go.wait()
                finally:
                    self.inside.remove(name)

        self.tasks[name] = asyncio.create_task(turn()), go
        await self.rest()
        return name

    async def leave(self, name: tuple[str, int]) -> None:
        task, go = self.tasks[name]
        go.set()
        await task
        await self.rest()

    async def vanish(self, name: tuple[str, int]) -> None:
        task, _ = self.tasks[name]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.rest()

    async def rest(self) -> None:
        """Let everything happen that can."""
        for _ in range(6):
            await asyncio.sleep(0)


async def test_who_finds_no_place_waits_and_is_served_in_order() -> None:
    crowd = Crowd(Places(2, 100))
    names = [await crowd.come("a") for _ in range(5)]
    assert crowd.inside == names[:2]
    await crowd.leave(names[1])
    assert crowd.inside == [names[0], names[2]]
    await crowd.leave(names[0])
    assert crowd.inside == names[2:4]
    for name in names[2:]:
        await crowd.leave(name)
    assert crowd.places._people == {}


async def test_a_flood_of_one_person_waits_behind_itself() -> None:
    crowd = Crowd(Places(2, 3))
    flood = [await crowd.come("a") for _ in range(50)]
    other = await crowd.come("b")
    last = await crowd.come("c")
    assert crowd.inside == [*flood[:2], other]
    await crowd.leave(flood[0])
    assert last in crowd.inside  # it came to the door before the flood's third
    for name in [other, last, *flood[1:]]:
        await crowd.leave(name)
    assert (crowd.inside, crowd.places._people) == ([], {})


async def test_a_place_that_is_given_to_who_is_cancelled_goes_to_the_next() -> None:
    crowd = Crowd(Places(1, 1))
    first, second, third = [await crowd.come("a") for _ in range(3)]
    crowd.tasks[first][1].set()
    await asyncio.sleep(0)  # the place is handed over in this very step
    await crowd.vanish(second)
    await crowd.rest()
    assert crowd.inside == [third]
    await crowd.leave(third)
    assert crowd.places._people == {}


async def test_who_has_just_been_cancelled_is_passed_over() -> None:
    crowd = Crowd(Places(1, 1))
    first, second, third = [await crowd.come("a") for _ in range(3)]
    crowd.tasks[first][1].set()
    crowd.tasks[second][0].cancel()  # it hears of it after the first has given its place back
    await crowd.rest()
    assert crowd.inside == [third]
    await crowd.leave(third)
    assert crowd.places._people == {}


async def test_other_numbers_hold_at_once_and_take_no_place_away() -> None:
    crowd = Crowd(Places(1, 1))
    names = [await crowd.come(user) for user in "abcd"]
    crowd.places.resize(1, 3)
    await crowd.rest()
    assert crowd.inside == names[:3]
    crowd.places.resize(1, 1)
    await crowd.leave(names[0])
    await crowd.leave(names[1])
    assert crowd.inside == [names[2]]
    await crowd.leave(names[2])
    assert crowd.inside == [names[3]]
    await crowd.leave(names[3])


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_or_given_twice(seed: int) -> None:
    dice = random.Random(seed)
    each, total = 2, 4
    crowd = Crowd(Places(each, total))
    shrunk = False
    for _ in range(150):
        there = [name for name, (task, _) in crowd.tasks.items() if not task.done()]
        match dice.choice(["come", "come", "leave", "vanish", "resize"]):
            case "come":
                await crowd.come(dice.choice("abcd"))
            case "leave" if crowd.inside:
                await crowd.leave(dice.choice(crowd.inside))
            case "vanish" if there:
                await crowd.vanish(dice.choice(there))
            case "resize" if dice.random() < 0.2:
                more = (dice.randint(1, 3), dice.randint(1, 6))
                shrunk = shrunk or more[0] < each or more[1] < total
                each, total = more
                crowd.places.resize(each, total)
                await crowd.rest()
        inside = [user for user, _ in crowd.inside]
        waiting = {
            name[0] for name, (task, _) in crowd.tasks.items() if not task.done() and name not in crowd.inside
        }
        if not shrunk:
            assert len(inside) <= total
            assert all(inside.count(user) <= each for user in "abcd")
        for user in waiting:  # nobody waits for nothing
            assert len(inside) >= total or inside.count(user) >= each
    for name, (task, _) in list(crowd.tasks.items()):
        if not task.done():
            await crowd.vanish(name)
    assert (crowd.places._people, crowd.places._total._taken) == ({}, 0)
