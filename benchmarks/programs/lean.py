"""The lean floor: the bare handler's job in aiohttp and plain JSON, without an SDK. Less than this nobody does it in Python."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from typing import Any

import aiohttp

API = f"{os.environ['BENCH_TELEGRAM']}/bot{os.environ['BENCH_TOKEN']}/"
MODEL = os.environ["BENCH_MODEL"] + "/v1/chat/completions"
histories: dict[int, list[dict[str, str]]] = defaultdict(
    lambda: [{"role": "system", "content": "You are a concise assistant."}]
)


async def call(http: aiohttp.ClientSession, method: str, **params: Any) -> Any:
    async with http.post(API + method, json=params) as response:
        return (await response.json())["result"]


async def answer(http: aiohttp.ClientSession, message: dict[str, Any]) -> None:
    chat = message["chat"]["id"]
    history = histories[chat]
    history.append({"role": "user", "content": message["text"]})
    placeholder = await call(http, "sendMessage", chat_id=chat, text="…")
    text = ""
    request = {"model": "bench", "messages": history, "stream": True}
    async with http.post(MODEL, json=request, headers={"Authorization": "Bearer bench"}) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
    history.append({"role": "assistant", "content": text})
    await call(http, "editMessageText", chat_id=chat, message_id=placeholder["message_id"], text=text)


async def main() -> None:
    offset = 0
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
        while True:
            for update in await call(http, "getUpdates", offset=offset, timeout=10):
                offset = update["update_id"] + 1
                tasks.create_task(answer(http, update["message"]))


asyncio.run(main())
