"""The bare handler's job with ag2's agent in the place of the SDK: one agent, a memory stream per chat, chunks streamed."""

from __future__ import annotations

import asyncio
import os

from ag2 import Agent, MemoryStream
from ag2.config import OpenAIConfig
from ag2.events import ModelMessageChunk
from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message

dispatcher = Dispatcher()
agent = Agent(
    "bench",
    "You are a concise assistant.",
    config=OpenAIConfig("bench", base_url=os.environ["BENCH_MODEL"] + "/v1", api_key="bench", streaming=True),
)
streams: dict[int, MemoryStream] = {}
shown: dict[int, str] = {}


def stream_of(chat: int) -> MemoryStream:
    """The chat's stream, with a subscriber that takes the pieces as they come, as a streaming handler does."""
    if chat not in streams:
        stream = streams[chat] = MemoryStream()

        @stream.where(ModelMessageChunk).subscribe
        async def _(chunk: ModelMessageChunk) -> None:
            shown[chat] += chunk.content

    return streams[chat]


@dispatcher.message(F.text)
async def answer(message: Message) -> None:
    chat = message.chat.id
    shown[chat] = ""
    placeholder = await message.answer("…")
    await agent.ask(message.text or "", stream=stream_of(chat))
    await placeholder.edit_text(shown[chat])


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["BENCH_TELEGRAM"]))
    await dispatcher.start_polling(Bot(os.environ["BENCH_TOKEN"], session=session))


asyncio.run(main())
