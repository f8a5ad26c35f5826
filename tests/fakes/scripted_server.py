"""What all scripted platforms are: a loopback server that records calls, complains, misbehaves and can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from aiohttp import web

from tests.fakes.faults import Fault
from tests.fakes.watched import Watched


class ScriptedServer(Watched):
    """A platform as far as its wire goes; what it answers is its own (`_handle`).

    Leaving its `async with` block fails if anything unexpected was asked or a scripted fault was never met. From another
    process it is driven over /_control/ (`_controlled`).
    """

    every_answer: Mapping[str, str] = {}  # headers of each answer, right or wrong

    def __init__(self, *, port: int = 0) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.version = 0  # of all there is to see; it grows
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._port = port
        self._dead = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    # Life

    async def start(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        self._dead.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.stop()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Fail if anything unexpected was asked, or a scripted fault was never met."""
        assert not self.complaints, self.complaints
        left = {call: len(faults) for call, faults in self._faults.items() if faults}
        assert not left, f"scripted faults never met: {left}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # What tests do

    def fault(self, method: str, *faults: Fault) -> Fault:
        """The next calls of `method` go wrong, one per fault, in order. Returns the last, whose `met` can be awaited."""
        self._faults[method].extend(faults)
        return faults[-1]

    async def wait_for(self, predicate: Callable[[Self], Any], seconds: float = 10) -> None:
        """Return as soon as `predicate(server)` holds; it is asked again whenever something happens."""
        await self.until(lambda: predicate(self), seconds)

    # Serving

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError

    def _complain(self, what: str) -> None:
        self.complaints.append(what)
        self._note()

    def _note(self) -> None:
        self.version += 1
        super()._note()

    def _called(self, call: str) -> Fault | None:
        """Record a call; what goes wrong with it, if anything."""
        self.calls[call] += 1
        self._note()
        fault = self._faults[call].popleft() if self._faults.get(call) else None
        if fault is not None:
            fault.met.set()
        return fault

    async def _met(
        self, call: str, request: web.BaseRequest, answer: Callable[[], Awaitable[web.Response]]
    ) -> web.Response:
        """A call's answer, or what its fault makes of that. What `answer` raises is raised: it had no effect to be lost."""
        fault = self._called(call)
        try:
            if fault is None:
                return await answer()
            await self._hold(fault)
            if not fault.process:
                return self._misbehave(request, fault)
            answered = await answer()
            return self._misbehave(request, fault) if fault.status or fault.drop else answered
        finally:
            self._note()

    async def _hold(self, fault: Fault) -> None:
        if fault.until is None:
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (fault.until, self._dead)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _misbehave(self, request: web.BaseRequest, fault: Fault) -> web.Response:
        if fault.drop:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        headers = {**self.every_answer, "Content-Type": fault.content_type, **fault.headers}
        return web.Response(status=fault.status, body=fault.body.encode(), headers=headers)

    # Control from another process

    async def _controlled(self, request: web.BaseRequest) -> web.Response:
        """/_control/ACTION does `_control_ACTION` with the arguments in its JSON.

        /_control/state tells everything; with ?after=VERSION it waits (up to 25 s) until there is something newer than that.
        """
        action = request.path.removeprefix("/_control/")
        if action == "state":
            after = int(request.query.get("after", "-1"))
            with contextlib.suppress(TimeoutError):
                await self.wait_for(lambda _: self.version > after, 25)
            record = {"version": self.version, "calls": dict(self.calls), "complaints": self.complaints}
            return web.json_response({**record, **self._state()})
        act = getattr(self, f"_control_{action}", None)
        if act is None:
            return web.Response(status=404)
        return web.json_response(act(**json.loads(await request.read())))

    def _state(self) -> dict[str, Any]:
        """What there is to see, besides calls and complaints."""
        raise NotImplementedError

    def _control_fault(self, method: str, fault: dict[str, Any], times: int = 1) -> dict[str, Any]:
        """`{"method": "sendMessage", "fault": {"status": 502, …}, "times": 3}`, with the fields of `Fault`."""
        self.fault(method, *(Fault(**fault) for _ in range(times)))
        return {}


def run(server: ScriptedServer, told: Callable[[], Mapping[str, str]]) -> None:
    """Be a program: print as one JSON line what is `told` once it listens, and serve until interrupted."""

    async def serve() -> None:
        await server.start()
        print(json.dumps(told()), flush=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await server.stop()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
