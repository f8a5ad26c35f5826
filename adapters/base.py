"""What every platform's adapter gives and takes: the whole vocabulary of the seam, in one file.

An adapter is a handful of verbs; how platforms differ is data (`Limits`), never a hook to override. Adapters know
neither `bot` nor `memory`: they hand what they receive to a `Sink`, which returns once it is durable.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

# AdapterError                     the platform, or our connection to it, refused something
# ├── RateLimited(retry_after)     wait that many seconds, then the same call may be made again
# ├── Unavailable                  no answer, or a fault on their side; `ambiguous` if it may have been done all the same
# ├── Unauthorized                 the token is wrong or was taken back: nothing works until the operator acts
# ├── Conflict                     another program receives with the same token
# ├── ChatGone                     this chat can not be written to: blocked, kicked, deleted
# │   └── ChatMigrated(new_id)     it lives on under another id
# ├── MessageGone                  the message to edit does not exist or can be edited no more
# └── Refused                      the platform will not take this content; another content may pass


class AdapterError(Exception):
    """A platform call failed. The message is for the operator: it carries no secret and nobody's words."""


class RateLimited(AdapterError):
    """Too many calls. `retry_after` is in seconds, as the platform said."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(AdapterError):
    """No usable answer. `ambiguous` tells that the call may have taken effect (the request had been sent)."""

    def __init__(self, message: str, *, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous


class Unauthorized(AdapterError):
    """The platform does not accept our credentials."""


class Conflict(AdapterError):
    """Another program is receiving this bot's updates."""


class ChatGone(AdapterError):
    """The chat can not be written to any more."""


class ChatMigrated(ChatGone):
    """The chat has another id now: `new_id`."""

    def __init__(self, message: str, new_id: str) -> None:
        super().__init__(message)
        self.new_id = new_id


class MessageGone(AdapterError):
    """The message to edit is not there (deleted, or too old)."""


class Refused(AdapterError):
    """The platform will not take this text."""


def fields_of(flat: Chat | Person | Update) -> dict[str, Any]:
    """The fields by their names. Each turn does this some times, and `asdict` takes eight times as long."""
    return {name: getattr(flat, name) for name in flat.__dataclass_fields__}


ChatKind = Literal["private", "group"]


@dataclass(frozen=True, slots=True)
class Chat:
    """The place of a conversation, thread or topic included. `id` and `thread` are the platform's own.

    `closed` tells that the thread is not for all who are in the chat.
    """

    platform: str
    id: str
    kind: ChatKind = "private"
    title: str = ""
    thread: str = ""
    closed: bool = False

    @property
    def key(self) -> str:
        """One string per place: `telegram:-100123:7`."""
        return f"{self.platform}:{self.id}:{self.thread}"

    @property
    def place(self) -> str:
        """How the configuration names it, threads left out: `telegram--100123`.

        Where a platform has workspaces or servers, `id` begins with theirs: `slack-T024BE7LD-C61`, `discord-80351-41771`.
        """
        return f"{self.platform}-{self.id}"


@dataclass(frozen=True, slots=True)
class Person:
    """Who said it. `id` is the user id of `user_id()`; `name` and `language` (BCP 47) are what the platform tells."""

    id: str
    name: str = ""
    language: str = ""


UpdateKind = Literal["message", "edit", "migrated", "left"]


@dataclass(frozen=True, slots=True)
class Update:
    """What a platform sent, in words that every platform shares.

    `key` is the platform's own id of the update: within `source` it is never used for another one. `addressed` tells that
    a message in a group mentions the assistant or replies to it. `command` is lower-case without its slash, None if
    the message is no command to us. `unsupported` names content that came without text ("a photo"). Kinds: `message`;
    `edit` (of `message_id`); `migrated` (`text` is the chat's new id); `left` (we were blocked or removed there).
    A slash command and a pressed `Button` are messages with a `command`. `via` is how the adapter answers this very update (an
    interaction's token); it is handed back to `post` and means nothing to anybody else. `relayed` tells that the words are
    somebody else's, which the person has forwarded.
    """

    source: str
    key: str
    chat: Chat
    person: Person
    text: str = ""
    kind: UpdateKind = "message"
    message_id: str = ""
    reply_to: str = ""
    at: float = 0.0
    addressed: bool = False
    command: str | None = None
    args: str = ""
    unsupported: str = ""
    via: str = ""
    relayed: bool = False

    @property
    def interaction(self) -> bool:
        """Whether it is a slash command or a pressed button: no message that stands, and answered to its asker alone."""
        return bool(self.via) and not self.message_id

    @property
    def alone(self) -> bool:
        """Whether nobody but its person sees what is answered."""
        return self.chat.kind == "private" or self.interaction

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; `from_json` gives the same update back."""
        return {**fields_of(self), "chat": fields_of(self.chat), "person": fields_of(self.person)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Update:
        """The update that `to_json` wrote. Keys that this version does not know are passed over."""
        known = {name: data[name] for name in Update.__dataclass_fields__ if name in data}
        known["chat"] = Chat(**data["chat"])
        known["person"] = Person(**data["person"])
        return Update(**known)


@dataclass(frozen=True, slots=True)
class Received:
    """One row of what a platform sent. Without `update` it could not be read: `raw` is then kept, with the `problem`.

    `marks` are set in the adapter's `State` in the same transaction, whether or not the row was there before.
    """

    source: str
    key: str
    update: Update | None
    raw: str = ""
    problem: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)


Sink = Callable[[Sequence[Received]], Awaitable[None]]
"""Takes what was received, in order. When it returns, all of it is durable and may be confirmed to the platform.

Handing in a row again (same source and key) changes nothing.
"""


class State(Protocol):
    """What an adapter keeps over restarts: names to texts, of this adapter alone."""

    async def get(self, prefix: str = "") -> dict[str, str]:
        """Everything whose name begins so."""

    async def set(self, values: Mapping[str, str | None]) -> None:
        """Keep the texts under their names, all or none; None forgets a name. On disk when this returns."""


class NoState:
    """A `State` that forgets everything with the process: for `check`, and for tests."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    async def get(self, prefix: str = "") -> dict[str, str]:
        return {name: text for name, text in self._values.items() if name.startswith(prefix)}

    async def set(self, values: Mapping[str, str | None]) -> None:
        for name, text in values.items():
            if text is None:
                self._values.pop(name, None)
            else:
                self._values[name] = text


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press under a message. Pressing it is the command `command` ("stop 12") of whoever pressed it."""

    label: str
    command: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How a platform differs from the others, as data. Times in seconds.

    `resend` says how a post is kept from standing twice after a crash or a lost answer: `key` (the platform drops a
    second post with the same key), `lookup` (`find` tells whether it stands), `stub` (post a placeholder and edit it: only
    a placeholder can stand twice), `none` (posting again is harmless). Without `buttons` those of a message are not shown.
    `command_prefix` is what people write before a command's name; `leaves_by` are the commands that the adapter takes itself, and
    that end the talk.
    Where `leaves_server`, `leave` takes us out of the whole server that the chat is in.
    With `files` a text that is one block of code may be longer than `max_chars`: it becomes a file.
    `max_file_bytes` is the largest file that `send_file` takes; 0: none at all. With `files_stay` the person is told where the
    file is, so that it must stay there for a while.
    With `streams` a message that will grow is posted with `more=True`.
    With `private_by_id` a person's private chat has the person's own id. Where only one chat can be reached (a terminal),
    `only_chat` is its id; what is for others waits for who reaches them.
    `quiet` is how long `Health.up` is believed; None where there is nobody to lose touch with.
    """

    max_chars: int
    length: Callable[[str], int] = len
    edit_interval: float = 1.0
    group_edit_interval: float = 3.0
    posts_per_second: float = 1.0
    posts_burst: int = 20
    group_posts_per_minute: float = 20.0
    total_per_second: float = 30.0
    typing_interval: float = 4.0
    resend: Literal["key", "lookup", "stub", "none"] = "stub"
    stub: str = "…"
    buttons: bool = False
    command_prefix: str = "/"
    leaves_by: tuple[str, ...] = ()
    leaves_server: bool = False
    files: bool = False
    max_file_bytes: int = 0
    files_stay: bool = False
    streams: bool = False
    private_by_id: bool = False
    only_chat: str = ""
    quiet: float | None = 90.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to one of an adapter's `routes`, body read whole."""

    headers: Mapping[str, str]  # case-insensitive
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    body: str = ""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)  # besides its type


@dataclass(frozen=True, slots=True)
class Route:
    """A path of our HTTP server that an adapter answers."""

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class Menu:
    """What the platform may show of our commands: name without slash to one line of help."""

    commands: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `boswell check --live`. `detail` says what is there, or what is missing and what to do."""

    ok: bool
    subject: str
    detail: str


class Health(Protocol):
    """Where an adapter tells how it is. Calls are cheap and never fail."""

    def up(self, detail: str = "") -> None:
        """Connected and receiving; `detail` is for the operator (the bot's name, a warning).

        To be called again, with the same detail, whenever something came or a round trip was made (an answered poll, a
        heartbeat): it is believed for `Limits.quiet` seconds only.
        """

    def down(self, reason: str) -> None:
        """Not receiving, and why; the adapter goes on trying by itself."""


class Adapter(Protocol):
    """Our connection to one platform.

    `text` is always Markdown; the adapter renders it in the platform's own formatting, and sends it plain where that is
    refused. Every verb may be cancelled at any await and raises only `AdapterError`s. Verbs may be called before `run` has
    connected; they raise `Unavailable` then.
    """

    name: str
    limits: Limits
    routes: Sequence[Route]

    async def run(self, sink: Sink, health: Health) -> None:
        """Receive until cancelled, giving everything to `sink` in order before confirming it to the platform.

        Reconnects by itself after what may pass; raises (`Unauthorized`, …) what it can not mend. May be called again.
        """

    async def post(
        self,
        chat: Chat,
        text: str,
        *,
        key: str,
        reply_to: str = "",
        via: str = "",
        buttons: Sequence[Button] = (),
        more: bool = False,
    ) -> str:
        """Send a new message, return the platform's id of it. `key` is the same whenever the same message is tried again.

        `more` (only where `limits.streams`) says that it is a preview: edits follow, and a final one in any case.

        `via` is that of the update which it answers: an answer to a slash command or a button is seen by the asker alone. Where
        that way is closed by now (tokens live for minutes), it is sent to the person directly, or else to the chat.
        """

    async def edit(
        self, chat: Chat, message_id: str, text: str, *, final: bool, buttons: Sequence[Button] = ()
    ) -> None:
        """Make a message that we posted read `text`, with these buttons. Repeating it is harmless.

        `final` is False for a preview.
        """

    async def send_file(
        self, chat: Chat, path: Path, text: str, *, key: str, via: str = "", instead: str = ""
    ) -> str:
        """Send a file, under its own name, to one person alone, with a short `text` beside it; return the message's id.

        `key` and `via` are as in `post`. `instead` is the placeholder whose place the file takes, where `limits.resend` is
        `stub`: repeating that is harmless, and `MessageGone` tells that it is there no more. In a group a file goes only by
        `via`, to the asker alone: where that way is closed, or there is none, it is `ChatGone`. What is too large, or of no use
        to the platform in another way, is `Refused`.
        """

    async def find(self, chat: Chat, key: str) -> str | None:
        """The id of the message posted, or sent with a file, with `key`, where `limits.resend` is `lookup`; else None."""

    async def typing(self, chat: Chat) -> None:
        """Show that an answer is being worked on, for some seconds."""

    async def dismiss(self, chat: Chat, via: str) -> None:
        """An interaction gets no answer: take away what shows its asker that one is coming."""

    async def leave(self, chat: Chat) -> None:
        """Go out of a group that we should not be in. Does nothing where we can not."""

    async def check(self) -> Sequence[Finding]:
        """Ask the platform who we are and what we may do, changing nothing. A refusal is a finding, not an error."""

    async def close(self) -> None:
        """Let go of connections. Idempotent."""


@runtime_checkable
class Rereads(Protocol):
    """An adapter that can read again what it once could not, after an upgrade perhaps. One that keeps raw rows has it."""

    async def reread(self, raw: str) -> Sequence[Received]:
        """What `Received.raw` says now: nothing if it is of no concern, a row without `update` if it still can not be read.

        Raises `Unavailable` where that can not be told before the platform is connected.
        """


_SLOW = 50_000.0  # bytes in a second that a poor line carries


def sending_seconds(size: int, call: float) -> float:
    """How long a call may take that sends so many bytes, where one without may take `call` seconds."""
    return call + size / _SLOW


@asynccontextmanager
async def opened(path: Path, most: int) -> AsyncIterator[tuple[BinaryIO, int]]:
    """A file to be sent, open, and its size. Raises `Refused` where it is larger than `most` bytes, or can not be read."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as exc:
        raise Refused(f"the file {path.name!r} can not be read: {exc.strerror}") from exc
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise Refused(f"the file {path.name!r} has {size} bytes; the platform takes {most}")
        yield file, size


_PLAIN = re.compile(r"[a-z0-9_]", re.ASCII)
_PLAIN_UPPER = re.compile(r"[A-Z0-9_]", re.ASCII)


def user_id(platform: str, *native: str, upper: bool = False) -> str:
    """The user id `<platform>-<the platform's own id>`, safe as a folder's name everywhere.

    Whatever could leave a folder, or collide where case does not count, is written as `%XX` of its UTF-8 bytes, so that
    two different ids never share a folder and the id can be read back. `upper` is for platforms whose ids are in
    capitals by nature (Slack): there the small letters are escaped. Lone surrogates are kept apart as well.
    """
    plain = _PLAIN_UPPER if upper else _PLAIN
    several = len(native) > 1  # then a hyphen stands between the parts and must not stand inside one

    def escape(part: str) -> str:
        return "".join(
            char
            if plain.match(char) or (char == "-" and not several)
            else "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
            for char in part
        )

    return "-".join([platform, *(escape(part) for part in native)])


_COMMAND = re.compile(
    r"/([A-Za-z][A-Za-z0-9_]{0,31})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?\Z", re.ASCII | re.DOTALL
)


def parse_command(text: str, username: str = "") -> tuple[str | None, str]:
    """`("clear", "")` for `/clear` or `/clear@username`; `(None, "")` for what is no command, or one to another bot."""
    match = _COMMAND.match(text.strip())
    if match is None or (match[2] and match[2].lower() != username.lower()):
        return None, ""
    return match[1].lower(), (match[3] or "").strip()


def clean(text: str) -> str:
    """Text that every store and platform can carry: lone surrogates and NUL become the replacement character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
