"""Which turns become dead letters, and how dead letters are tried again where their platform is running.

`boswell dead retry` only marks a row, from another process; the process that runs the platform takes it up. What was an update
or a message becomes a new row of the inbox, under a key of its own: it is worked on once even if a kill comes in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog

from adapters.base import Adapter, Received, Rereads, Unavailable, Update
from bot.delivery import Delivery
from bot.engine import Engine
from bot.errors import BoswellError
from memory import dead, outbox
from memory.database import Database
from memory.dead import Asked

log = structlog.get_logger(__name__)

NO_REREAD = "its adapter can not read it again"


def keeps(outcome: str) -> bool:
    """Whether a turn with this outcome is kept as a dead letter: it was given up, or broke by a fault of our own.

    Not kept is what the person was told of and can repeat: a model that failed, a time-out, a limit. Those errors are all of the
    tree in bot/errors.py, so whatever else ended a turn was foreseen by nobody.
    """
    kind = outcome.removeprefix("failed:")
    return kind != outcome and kind not in _foreseen(BoswellError)


def _foreseen(error: type[BaseException]) -> set[str]:
    return {error.__name__}.union(*(_foreseen(kind) for kind in error.__subclasses__()))


async def take_up(
    database: Database, connected: Mapping[str, Adapter], engine: Engine, delivery: Delivery
) -> None:
    """Try again what the operator asked for, of the platforms that this process runs.

    Call it at start, whenever another process has written, and when a platform becomes connected: what can not be read before
    that waits for the next call. Not twice at a time. Raises sqlite3.Error, and then nothing is lost.
    """
    for platform, adapter in connected.items():
        delivery.submit(await database.write(partial(outbox.revive, platform=platform)))
        for row in await database.read(partial(dead.asked, platform=platform)):
            await _again(database, adapter, engine, row)


async def _again(database: Database, adapter: Adapter, engine: Engine, row: Asked) -> None:
    try:
        received = await _read(adapter, row)
    except Unavailable:
        return
    except Exception as exc:  # noqa: BLE001 - the edge of one row: whatever is in it, the others must get through
        received = [Received(row.source, row.again, None, problem=type(exc).__name__)]
    problem = next((item.problem for item in received if item.update is None), None)
    if problem is not None:
        log.warning("still_unreadable", row=row.id, platform=adapter.name, problem=problem)
        await database.write(lambda tx: dead.still_unreadable(tx, row, problem))
        return
    await engine.accept(
        [
            replace(item, key=f"{row.again}.{index}" if index else row.again, marks={})
            for index, item in enumerate(received)
        ]
    )
    await database.write(lambda tx: dead.taken_up(tx, row))
    log.info("dead_letter_retried", row=row.id, platform=adapter.name, updates=len(received))


async def _read(adapter: Adapter, row: Asked) -> Sequence[Received]:
    if row.body is not None:
        return [Received(row.source, row.again, Update.from_json(row.body["update"]))]
    if isinstance(adapter, Rereads):
        return await adapter.reread(row.raw)
    return [Received(row.source, row.again, None, problem=NO_REREAD)]
