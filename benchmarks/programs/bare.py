"""The bare handler: what a developer writes on a first evening with aiogram and the openai SDK.

It keeps nothing: history is a dictionary, and a crash loses both it and the messages in work.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from typing import Any

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message
from openai import AsyncOpenAI

dispatcher = Dispatcher()
model = AsyncOpenAI(base_url=os.environ["BENCH_MODEL"] + "/v1", api_key="bench")
histories: dict[int, list[Any]] = defaultdict(
    lambda: [{"role": "system", "content": "You are a concise assistant."}]
)


@dispatcher.message(F.text)
async def answer(message: Message) -> None:
    history = histories[message.chat.id]
    history.append({"role": "user", "content": message.text})
    placeholder = await message.answer("…")
    text = ""
    async for chunk in await model.chat.completions.create(model="bench", messages=history, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    history.append({"role": "assistant", "content": text})
    await placeholder.edit_text(text)


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["BENCH_TELEGRAM"]))
    await dispatcher.start_polling(Bot(os.environ["BENCH_TOKEN"], session=session))


asyncio.run(main())
