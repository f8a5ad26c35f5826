"""Replies on their way out: shown as they are written, then delivered once, at the pace that the platform allows.

A part's state is on disk before every call. What stands in a chat is decided by `Limits.resend`: where a platform can not
recognise a second post, a reply begins as a placeholder whose id is stored at once, and everything after that is an edit,
which may be repeated. Only a placeholder can then stand twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path

import structlog

from adapters.base import (
    Adapter,
    AdapterError,
    Button,
    Chat,
    ChatGone,
    ChatMigrated,
    Limits,
    MessageGone,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    Update,
    fields_of,
)
from bot import own, sentences
from bot.metrics import Metrics
from bot.pace import Pace
from bot.preview import Preview, within
from bot.stream import Stream
from bot.text import split, split_around_code
from memory import export, outbox
from memory.database import Database, Tx
from memory.outbox import Part

log = structlog.get_logger(__name__)

FIRST_BACKOFF = 0.5
MAX_BACKOFF = 60.0
RETRY = 5.0  # seconds until the database is tried again where it failed


def reply_to(update: Update) -> str:
    """The message that an answer quotes: in a group that which it answers."""
    return update.message_id if update.chat.kind == "group" else ""


def _buttons(part: Part) -> tuple[Button, ...]:
    return tuple(Button(**button) for button in part.buttons)


def _heard(mark: asyncio.Future[None]) -> None:
    if not mark.cancelled() and mark.exception() is not None:
        log.error("database_failed", what="marking a reply as sent", problem=str(mark.exception()))


class Delivery:
    """Takes complete parts and delivers each, in order within a chat and side by side across chats.

    `tasks` outlives every part; cancelling it leaves the rest to the next start.
    """

    def __init__(
        self,
        database: Database,
        adapters: Mapping[str, Adapter],
        tasks: asyncio.TaskGroup,
        now: Callable[[], float] = time.time,
        on_migrated: Callable[[Chat, str], object] = lambda _chat, _id: None,
        metrics: Metrics | None = None,
        on_gone: Callable[[Tx, Chat, int], object] = lambda _tx, _chat, _turn: None,
    ) -> None:
        self.tasks = tasks
        self.metrics = metrics or Metrics()
        self._database = database
        self._adapters = adapters
        self._now = now
        self._on_migrated = on_migrated
        self._on_gone = on_gone
        self._paces = {name: Pace(adapter) for name, adapter in adapters.items()}
        self._queues: dict[str, deque[Part]] = {}
        self._queued: set[int] = set()
        self._previews: dict[int, Preview] = {}
        self._queue_ended = asyncio.Event()
        self._mended = {name: asyncio.Event() for name in adapters}

    def mended(self, platform: str) -> None:
        """The platform can be reached again: what waits for it is tried at once."""
        self._mended[platform].set()
        self._mended[platform] = asyncio.Event()

    def pace(self, adapter: Adapter) -> Pace:
        return self._paces[adapter.name]

    def begin(
        self, tx: Tx, turn_id: int, chat: Chat, reply_to: str, *, via: str = "", resumed: bool
    ) -> Part | None:
        """Open the first part of a turn's reply, in the transaction that begins (or resumes) the turn."""
        stub = self._adapters[chat.platform].limits.resend == "stub"
        part = outbox.put(tx, turn_id, 0, fields_of(chat), reply_to, stub, None, self._now(), via)
        if part is not None:
            part.ambiguous = resumed and not part.message_id
        return part

    def preview(self, part: Part, stream: Stream, said: str = "", language: str = "") -> None:
        """Show the reply as it is written, from now until its parts are submitted. `said`: what it begins with."""
        self._previews[part.turn_id] = Preview(
            self, self._adapters[part.chat["platform"]], part, stream, said, language
        )

    def complete(
        self,
        tx: Tx,
        turn_id: int,
        chat: Chat,
        reply_to: str,
        text: str,
        *,
        via: str = "",
        buttons: Sequence[Button] = (),
        stub: bool = True,
        language: str = "",
        file: str = "",
        unasked: bool = False,
    ) -> list[Part]:
        """Write a reply's parts, in the transaction that completes the turn; `submit` them after it.

        `stub` False is for what may be said twice without harm (the answer to a command): it is posted at once. `buttons`
        are shown under the last part. `file` is the path below data_dir of one that goes with a short `text`, to one person
        alone; it is removed when it was sent, or can not be. What is said `unasked` lets answers go ahead.
        """
        limits = self._adapters[chat.platform].limits
        stub = (stub or (bool(file) and not via)) and limits.resend == "stub"
        cut = split_around_code if limits.files else split
        texts = [text] if file else cut(text, limits.max_chars, limits.length)
        parts = [
            outbox.put(
                tx,
                turn_id,
                index,
                fields_of(chat),
                reply_to if index == 0 else "",
                stub,
                piece,
                self._now(),
                via,
                [asdict(button) for button in buttons] if index == len(texts) - 1 else (),
                file,
            )
            for index, piece in enumerate(texts)
        ]
        opened = [part for part in parts if part is not None]
        for part in opened:
            part.language, part.unasked = language, unasked
        return opened

    def submit(self, parts: list[Part]) -> None:
        """Deliver parts that are committed; those that wait here already are passed over."""
        for part in parts:
            if part.id in self._queued:
                continue
            self._queued.add(part.id)
            chat = Chat(**part.chat)
            queue = self._queues.get(chat.key)
            if queue is None:
                queue = self._queues[chat.key] = deque()
                queue.append(part)
                self.tasks.create_task(self._deliver_all(chat.key, queue), name=f"delivery to {chat.key}")
            else:
                queue.append(part)

    def limits(self, chat: Chat) -> Limits:
        """What the chat's platform can do."""
        return self._adapters[chat.platform].limits

    def reaches(self, chat: Chat) -> bool:
        """Whether this process can speak there."""
        return self.limits(chat).only_chat in ("", chat.id)

    async def dismiss(self, chat: Chat, via: str) -> None:
        """No answer comes to an interaction. Raises what the adapter does."""
        await self._adapters[chat.platform].dismiss(chat, via)

    async def leave(self, chat: Chat) -> None:
        """Go out of a group, by its platform's adapter. Raises what that raises."""
        await self._adapters[chat.platform].leave(chat)

    def shown(self, turn_id: int) -> str:
        """The text of a running turn's preview, as far as it has come."""
        preview = self._previews.get(turn_id)
        return preview.text if preview else ""

    async def abandon(self, turn_id: int) -> None:
        """End the preview of a turn that another attempt took over."""
        preview = self._previews.pop(turn_id, None)
        if preview is not None:
            await preview.finish()

    async def delivered(self, turns: Set[int]) -> None:
        """Return when no part of these turns waits here."""
        while any(part.turn_id in turns for queue in self._queues.values() for part in queue):
            await self._queue_ended.wait()

    async def forget(self, turns: Set[int]) -> None:
        """Let go of what waits of these turns, which is erased, and of their previews. What is being sent is sent."""
        for queue in self._queues.values():
            for part in queue:
                if part.turn_id in turns:
                    part.text = None
        for turn_id in turns & self._previews.keys():
            await self.abandon(turn_id)

    async def recover(self, platform: str) -> int:
        """Take up what an earlier process still owed; how many parts."""
        owed = await self._database.read(lambda tx: outbox.owed(tx, platform, own.source(platform)))
        parts = [part for part in owed if self.reaches(Chat(**part.chat))]
        self.submit(parts)
        return len(parts)

    async def drained(self, platform: str = "") -> None:
        """Return when nothing is left to deliver, on a platform or on all."""
        while any(key.startswith(f"{platform}:" if platform else "") for key in self._queues):
            await self._queue_ended.wait()

    async def all_said(self, chat: Chat, otherwise: asyncio.Event) -> None:
        """Return when no finished reply waits to be shown in a chat, so that none overtakes it, or on the event."""
        while chat.key in self._queues and not otherwise.is_set():
            waits = [asyncio.ensure_future(event.wait()) for event in (otherwise, self._queue_ended)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _deliver_all(self, key: str, queue: deque[Part]) -> None:
        while queue:
            try:
                with self.metrics.delivering(queue[0]):
                    await self._deliver(queue[0])
            except sqlite3.Error as exc:
                # Not even that it can not be delivered could be written: it stays owed
                log.error("database_failed", turn=queue[0].turn_id, problem=str(exc), retry_in=RETRY)
                await asyncio.sleep(RETRY)
                continue
            self._queued.discard(queue.popleft().id)
        del self._queues[key]
        self._queue_ended.set()  # whoever waits looks again; the next ones wait for the next end
        self._queue_ended = asyncio.Event()

    async def _deliver(self, part: Part) -> None:
        preview = self._previews.pop(part.turn_id, None) if part.part == 0 else None
        if preview is not None:
            shown = await preview.finish()
            part.message_id = part.message_id or shown.message_id
            part.ambiguous = part.ambiguous or shown.ambiguous
        adapter = self._adapters[part.chat["platform"]]
        backoff = FIRST_BACKOFF
        replaced = False
        while part.text is not None:  # else it was erased meanwhile
            chat = Chat(**part.chat)
            try:
                await self._attempt(adapter, chat, part)
            except RateLimited as exc:
                log.info("rate_limited", chat=chat.key, retry_after=exc.retry_after)
                self.pace(adapter).pause(chat, exc.retry_after)
            except ChatMigrated as exc:
                self._on_migrated(chat, exc.new_id)
                part.chat = fields_of(replace(chat, id=exc.new_id))
                part.message_id = (
                    ""  # it stayed behind; in the new chat that id may be another message of ours
                )
            except (Refused, ChatGone) as exc:
                # Where no file can go, words may: a slash command is answered in its own way
                if replaced or (isinstance(exc, ChatGone) and not part.file):
                    await self._give_up(part, exc)
                    return
                reference, replaced = f"t{part.turn_id}", True
                log.warning(
                    "refused_by_platform",
                    turn=part.turn_id,
                    ref=reference,
                    part=part.part,
                    error=type(exc).__name__,
                    problem=str(exc),
                )
                text = sentences.say("file_unsendable" if part.file else "unsendable", part.language)
                part.unsendable = True
                part.text = sentences.referring(text, reference, part.language)
            except (Unavailable, Unauthorized, sqlite3.Error) as exc:
                # Not connected (yet), a fault on their side, or our disk is full: the reply waits, it is never dropped for
                # that. If it was posted and could not be marked, its id is known here, and the next try is an edit.
                log.debug("delivery_waits", chat=chat.key, problem=str(exc), seconds=backoff)
                if await within(self._mended[adapter.name], backoff):
                    backoff = FIRST_BACKOFF
                backoff = min(MAX_BACKOFF, backoff * 2)
            except AdapterError as exc:
                await self._give_up(part, exc)
                return
            except Exception as exc:
                log.error("delivery_failed", turn=part.turn_id, part=part.part, error=type(exc).__name__)
                log.debug("delivery_failed_in_full", exc_info=exc)
                await self._give_up(part, exc)
                return
            else:
                return

    async def _attempt(self, adapter: Adapter, chat: Chat, part: Part) -> None:
        sent = await self._send_file(adapter, chat, part) if part.file else False
        if not sent:
            await self._say(adapter, chat, part)
        self.metrics.text_shown(part.turn_id)
        part_id, message_id = part.id, part.message_id

        def mark(tx: Tx) -> None:
            tx.run("outbox_sent", id=part_id, message_id=message_id, at=self._now())

        if part.stub and not part.file:
            # Killed before the mark, the next start repeats the edit, which nobody sees
            self._database.later(mark).add_done_callback(_heard)
        else:
            await self._database.write(mark)
        if not (sent and adapter.limits.files_stay):
            await self._dispose(part)

    async def _say(self, adapter: Adapter, chat: Chat, part: Part) -> None:
        text = part.text or ""
        pace = self.pace(adapter)
        if part.message_id:
            await pace.wait(chat, post=False)
            try:
                await adapter.edit(chat, part.message_id, text, final=True, buttons=_buttons(part))
            except MessageGone:
                log.info("message_gone", chat=chat.key, turn=part.turn_id)
                part.message_id, part.stub = "", False
        if not part.message_id:
            if part.stub:
                await self.post(adapter, part, adapter.limits.stub)
                await pace.wait(chat, post=False)
                await adapter.edit(chat, part.message_id, text, final=True, buttons=_buttons(part))
            else:
                part.message_id = await self._post(adapter, chat, part, text)

    async def _send_file(self, adapter: Adapter, chat: Chat, part: Part) -> bool:
        """Send a part's file; False if that can not be, and then its text says so."""
        if part.unsendable:
            return False
        if part.message_id and not part.stub:
            return True  # it stands, and could not be marked
        if part.ambiguous and adapter.limits.resend == "lookup":
            part.message_id = await adapter.find(chat, part.key) or ""
            if part.message_id:
                return True
        path = self._path(part)
        if not await asyncio.to_thread(path.is_file):
            part.text = sentences.say("file_gone", part.language)
            return False
        if part.stub and not part.message_id:
            await self.post(adapter, part, adapter.limits.stub)
        try:
            await self._hand_over(adapter, chat, part, path)
        except MessageGone:  # the placeholder was deleted
            if not part.stub:
                raise
            log.info("message_gone", chat=chat.key, turn=part.turn_id)
            part.message_id, part.stub = "", False
            await self._hand_over(adapter, chat, part, path)
        return True

    async def _hand_over(self, adapter: Adapter, chat: Chat, part: Part, path: Path) -> None:
        await self.pace(adapter).wait(chat, post=not part.stub, unasked=part.unasked)
        try:
            part.message_id = await adapter.send_file(
                chat, path, part.text or "", key=part.key, via=part.via, instead=part.message_id
            )
        except Unavailable as exc:
            part.ambiguous = part.ambiguous or exc.ambiguous
            raise

    def _path(self, part: Part) -> Path:
        return self._database.path.absolute().parent / part.file

    async def _dispose(self, part: Part) -> None:
        """Its file is of no use any more."""
        if part.file:
            await asyncio.to_thread(export.remove, self._path(part))

    async def post(self, adapter: Adapter, part: Part, text: str) -> None:
        """Post a message that will be edited, and keep its id at once."""
        part.message_id = await self._post(adapter, Chat(**part.chat), part, text, more=True)
        part_id, message_id = part.id, part.message_id
        await self._database.write(lambda tx: tx.run("outbox_posted", id=part_id, message_id=message_id))

    async def _post(self, adapter: Adapter, chat: Chat, part: Part, text: str, *, more: bool = False) -> str:
        if part.ambiguous and adapter.limits.resend == "lookup":
            found = await adapter.find(chat, part.key)
            if found:
                if not more:  # what stands there may be the preview that a killed process left
                    await adapter.edit(chat, found, text, final=True, buttons=_buttons(part))
                return found
        await self.pace(adapter).wait(chat, post=True, unasked=part.unasked)
        try:
            growing = {"more": True} if more and adapter.limits.streams else {}
            return await adapter.post(
                chat,
                text,
                key=part.key,
                reply_to=part.reply_to,
                via=part.via,
                buttons=_buttons(part),
                **growing,
            )
        except Unavailable as exc:
            part.ambiguous = part.ambiguous or exc.ambiguous
            raise

    async def _give_up(self, part: Part, exc: Exception) -> None:
        problem = str(exc) if isinstance(exc, AdapterError) else type(exc).__name__
        log.warning(
            "undeliverable",
            turn=part.turn_id,
            part=part.part,
            platform=part.chat["platform"],
            problem=problem,
        )

        def bury(tx: Tx) -> None:
            tx.run("outbox_dead", id=part.id, problem=problem)
            # An answer to one person alone, or a file, has another way than what is posted
            if isinstance(exc, ChatGone) and not part.via and not part.file:
                self._on_gone(tx, Chat(**part.chat), part.turn_id)

        await self._database.write(bury)
        await self._dispose(part)
