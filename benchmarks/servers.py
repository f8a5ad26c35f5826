"""The two servers that every measured program talks to, lean so that a busy machine's cores are left to the program.

Run as `python -m benchmarks.servers telegram|model`: prints the port it listens on, then serves until it is killed. The
Telegram server drives the load itself, so that a latency is the time between two events in one process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

CHUNKS = 60
END = "fin."
SETTLE = 0.5  # seconds after the last reply for what a program put off until then: a last edit, its own files
STALLED = 60.0  # seconds without a completed reply after which a run is given up

_QUESTION = re.compile(r"\bq(\d+)\b")
_WORDS = (
    "a",
    "plain",
    "reply",
    "of",
    "ordinary",
    "words",
    "that",
    "goes",
    "on",
    "for",
    "as",
    "long",
    "as",
    "asked",
)


def question(turn: int) -> str:
    """What the person writes in `turn`; the reply to it begins with the same mark, so that none is taken for another."""
    return f"q{turn} Tell me something about it, please."


def is_reply(turn: int, text: str) -> bool:
    """Whether `text` is the whole reply to `question(turn)`."""
    return text.startswith(f"q{turn} ") and text.endswith(END)


# --- the model ----------------------------------------------------------------------------------------------------


def _chunk(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    body = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_800_000_000,
        "model": "bench",
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


_MIDDLE = [_delta({"content": f"{_WORDS[i % len(_WORDS)]} "}) for i in range(CHUNKS - 2)]
_LAST = _delta({"content": END})
_STOP = _delta({}, "stop")
_USAGE = _chunk([], {"prompt_tokens": 100, "completion_tokens": CHUNKS, "total_tokens": 100 + CHUNKS})


def _last_question(messages: Sequence[dict[str, Any]]) -> str:
    """The mark of the newest question; the content may be a string or a list of parts."""
    for message in reversed(messages):
        if message["role"] == "user" and (found := _QUESTION.findall(json.dumps(message["content"]))):
            return str(found[-1])
    return "0"


async def _complete(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    mark = _last_question(body["messages"])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    chunks = [_delta({"role": "assistant", "content": f"q{mark} "}), *_MIDDLE, _LAST, _STOP]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append(_USAGE)
    for chunk in chunks:
        await response.write(chunk)  # leaves as a packet of its own: no proxy or buffer joins them
        await asyncio.sleep(0)
    await response.write(b"data: [DONE]\n\n")
    return response


def model_app() -> web.Application:
    """`POST /v1/chat/completions`, streamed in `CHUNKS` pieces without any delay."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _complete)
    return app


# --- Telegram -----------------------------------------------------------------------------------------------------


_NOT_MODIFIED = {
    "ok": False,
    "error_code": 400,
    "description": "Bad Request: message is not modified: specified new message content and reply markup are exactly "
    "the same as a current content and reply markup of the message",
}


@dataclass
class _Turn:
    """A question; `done` when the whole reply first stood in the chat, `finished` when it was last touched."""

    number: int
    handed_out: float = 0.0
    finished: float = 0.0
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Bot:
    """What the server knows of one token: each measured process has its own, so nothing is left over from another."""

    first_poll: asyncio.Future[float]
    updates: dict[int, dict[str, Any]] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[int, _Turn] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    answered: dict[int, _Turn] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    last_id: int = 1000

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id


class _Telegram:
    def __init__(self) -> None:
        self._bots: dict[str, _Bot] = {}

    def _bot(self, request: web.Request) -> _Bot:
        token = request.match_info["token"]
        if token not in self._bots:
            self._bots[token] = _Bot(asyncio.get_running_loop().create_future())
        return self._bots[token]

    async def call(self, request: web.Request) -> web.Response:
        """A Bot API method, in JSON or as a form, as SDKs send it."""
        bot, method = self._bot(request), request.match_info["method"].lower()
        if request.content_type == "application/json":
            params = await request.json() if request.can_read_body else {}
        else:
            params = {**request.query, **await request.post()}
        bot.calls[method] += 1
        match method:
            case "getupdates":
                result: Any = await self._get_updates(bot, params)
            case "sendmessage" | "editmessagetext":
                result = self._said(bot, params)
                if result is None:
                    bot.calls["not modified"] += 1
                    return web.json_response(_NOT_MODIFIED, status=400)
            case "getme":
                result = {
                    "id": 1,
                    "is_bot": True,
                    "first_name": "Bench",
                    "username": "bench_bot",
                    "can_join_groups": True,
                    "can_read_all_group_messages": False,
                    "supports_inline_queries": False,
                }
            case "getwebhookinfo":
                result = {"url": "", "has_custom_certificate": False, "pending_update_count": 0}
            case _:
                result = True
        return web.json_response({"ok": True, "result": result})

    async def _get_updates(self, bot: _Bot, params: dict[str, Any]) -> list[dict[str, Any]]:
        if not bot.first_poll.done():
            bot.first_poll.set_result(time.monotonic())
        offset = int(params.get("offset") or 0)
        for confirmed in [known for known in bot.updates if known < offset]:
            del bot.updates[confirmed]
        if not bot.updates:
            bot.arrived.clear()
            try:
                async with asyncio.timeout(float(params.get("timeout") or 0)):
                    await bot.arrived.wait()
            except TimeoutError:
                return []
        now = time.monotonic()
        batch = list(bot.updates.values())[: int(params.get("limit") or 100)]
        for update in batch:
            turn = bot.waiting.get(update["message"]["chat"]["id"])
            if turn is not None and not turn.handed_out:
                turn.handed_out = now
        return batch

    def _said(self, bot: _Bot, params: dict[str, Any]) -> dict[str, Any] | None:
        """The message as it stands now; None for an edit that changes nothing, which Telegram refuses."""
        chat, text, now = int(params["chat_id"]), str(params["text"]), time.monotonic()
        message_id = int(params.get("message_id") or 0) or bot.next_id()
        turn = bot.answered.get(message_id)
        if turn is None:
            turn = bot.waiting.get(chat)
            if turn is not None and is_reply(turn.number, text):
                bot.answered[message_id] = turn
                turn.finished = now
                turn.done.set()
        else:
            turn.finished = now
        if bot.texts.get(message_id) == text:
            return None
        bot.texts[message_id] = text
        return {
            "message_id": message_id,
            "date": int(time.time()),
            "chat": {"id": chat, "type": "private", "first_name": "Ada"},
            "from": {"id": 1, "is_bot": True, "first_name": "Bench", "username": "bench_bot"},
            "text": text,
        }

    async def _turn(self, bot: _Bot, chat: int, number: int) -> _Turn:
        """Write as a person and wait for the whole reply."""
        turn = bot.waiting[chat] = _Turn(number)
        update_id = bot.next_id()
        bot.updates[update_id] = {
            "update_id": update_id,
            "message": {
                "message_id": bot.next_id(),
                "date": int(time.time()),
                "chat": {"id": chat, "type": "private", "first_name": "Ada", "username": "ada"},
                "from": {
                    "id": chat,
                    "is_bot": False,
                    "first_name": "Ada",
                    "username": "ada",
                    "language_code": "en",
                },
                "text": question(number),
            },
        }
        bot.arrived.set()
        async with asyncio.timeout(STALLED):
            await turn.done.wait()
        return turn

    async def ready(self, request: web.Request) -> web.Response:
        """Waits for the program's first getUpdates; answers with its time on the machine's monotonic clock."""
        return web.json_response(await asyncio.shield(self._bot(request).first_poll))

    async def drive(self, request: web.Request) -> web.Response:
        """Holds conversations; answers with each turn's latency in seconds and the Bot API calls that were made.

        A latency ends with the last edit of the reply, also where the text was complete before.

        Without `rate` the loop is closed: each of `chats` sends its next message when the reply to the last is complete.
        With it, one message is sent every 1/`rate` seconds, chat after chat, whatever has been answered.
        """
        bot, plan = self._bot(request), await request.json()
        chats: list[int] = plan["chats"]
        first, turns, rate = plan["first"], plan["turns"], plan.get("rate")
        bot.calls.clear()
        begun = time.monotonic()

        async def converse(chat: int) -> list[_Turn]:
            return [await self._turn(bot, chat, first + number) for number in range(turns)]

        async def after(delay: float, chat: int, number: int) -> _Turn:
            await asyncio.sleep(delay)
            return await self._turn(bot, chat, number)

        try:
            if rate is None:
                held = list(itertools.chain.from_iterable(await asyncio.gather(*map(converse, chats))))
            else:
                slots = [(chat, first + number) for number in range(turns) for chat in chats]
                held = await asyncio.gather(*(after(i / rate, *slot) for i, slot in enumerate(slots)))
        except TimeoutError:
            return web.Response(status=504, text=f"a reply was not completed within {STALLED:g} s")
        elapsed = time.monotonic() - begun
        await asyncio.sleep(SETTLE)
        latencies = [turn.finished - turn.handed_out for turn in held]
        return web.json_response({"latencies": latencies, "calls": bot.calls, "seconds": elapsed})


def telegram_app() -> web.Application:
    """The Bot API under `/bot<token>/`, and `/bench/<token>/ready` and `/drive` for the harness."""
    server, app = _Telegram(), web.Application()
    app.router.add_route("*", "/bot{token}/{method}", server.call)
    app.router.add_get("/bench/{token}/ready", server.ready)
    app.router.add_post("/bench/{token}/drive", server.drive)
    return app


async def _serve(app: web.Application) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve({"telegram": telegram_app, "model": model_app}[sys.argv[1]]()))
