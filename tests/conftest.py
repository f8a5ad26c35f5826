"""For every test: no connection leaves this machine, random examples are the same in every run, and no log tells a secret."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["pytester", "tests.plugins.leaks"]

# A test that fails now and then tells nobody anything; the seeds were varied by hand when the properties were written.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else ""  # a path: a socket of this machine
    if host and not (host.startswith("127.") or host in ("::1", "localhost")):
        raise AssertionError(f"a test reached beyond this machine: {host!r}; point it at a server of its own")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _nothing_beyond_loopback() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _loopback_only)
        yield


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that a test runs in this process decides where its log goes, and not where that of the next test goes."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
