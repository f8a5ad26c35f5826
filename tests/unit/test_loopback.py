"""The guard that keeps every test on this machine."""

from __future__ import annotations

import socket

import aiohttp
import pytest


def test_a_connection_beyond_loopback_is_refused_before_anything_is_sent() -> None:
    with socket.socket() as beyond, pytest.raises(AssertionError, match="beyond this machine"):
        beyond.connect(("192.0.2.1", 80))


async def test_the_refusal_holds_for_asynchronous_clients_too() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(AssertionError, match="beyond this machine"):
            await session.get("http://192.0.2.1/")
