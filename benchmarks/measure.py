"""Starts one program at a time, drives it, and reads what it costs from outside: nothing inside it is instrumented."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
CHATS = 20
IDLE = 2.0  # seconds after the first getUpdates at which idle memory is read
_TOKENS = iter(range(1, 1_000_000))


class Failed(Exception):
    """A program could not be measured: its name, what went wrong, and the end of what it wrote."""


@dataclass(frozen=True)
class Program:
    """Something to measure. `arguments` makes its command line inside the fresh directory it is started in."""

    name: str
    title: str
    arguments: Callable[[Path, Servers, str], Sequence[str]]


@dataclass(frozen=True)
class Load:
    """How much is asked of each program. `rate` is in turns a second, over all chats."""

    turns: int = 20
    open_turns: int = 5
    rate: float = 5.0


@dataclass(frozen=True)
class Servers:
    """Where the two servers listen."""

    telegram: str
    model: str

    def ready(self, token: str, within: float) -> float:
        """Waits for the first getUpdates; its time on the monotonic clock that all processes of the machine share."""
        return float(self._json(f"/bench/{token}/ready", None, within))

    def drive(self, token: str, plan: Mapping[str, Any], within: float) -> dict[str, Any]:
        """See `servers._Telegram.drive`."""
        return dict(self._json(f"/bench/{token}/drive", json.dumps(plan).encode(), within))

    def _json(self, path: str, body: bytes | None, within: float) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.telegram + path, body, headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=within) as response:  # noqa: S310 - loopback
            return json.load(response)


@contextmanager
def servers() -> Iterator[Servers]:
    """Both servers, each in a process of its own, until the block ends."""
    processes: list[subprocess.Popen[str]] = []

    def start(kind: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.servers", kind], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    try:
        yield Servers(start("telegram"), start("model"))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its ended threads and its children so far."""
    process = psutil.Process(pid)
    if sys.platform == "linux":
        own = time.clock_gettime((~pid << 3) | 2)  # the kernel's clock of another process, in nanoseconds
    else:
        own = float(sum(process.cpu_times()[:2]))  # in hundredths
    return own + sum(sum(child.cpu_times()[:2]) for child in process.children(recursive=True))


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its children, in MB of 10^6 bytes."""
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) / 1e6


@contextmanager
def started(program: Program, servers: Servers) -> Iterator[tuple[int, str, float]]:
    """The program, running in an empty directory: process id, bot token, and when it was started."""
    token = f"{next(_TOKENS)}:bench"
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as log:
        environment = {
            **os.environ,
            "BENCH_TELEGRAM": servers.telegram,
            "BENCH_MODEL": servers.model,
            "BENCH_TOKEN": token,
            "PYTHONPATH": str(ROOT),
        }
        environment.pop(
            "PYTHONDONTWRITEBYTECODE", None
        )  # what is compiled once is not compiled at each start
        arguments = program.arguments(Path(directory), servers, token)
        begun = time.monotonic()
        process = subprocess.Popen(arguments, cwd=directory, env=environment, stdout=log, stderr=log)
        try:
            yield process.pid, token, begun
        except (OSError, psutil.Error) as exc:
            log.seek(0)
            tail = log.read().decode(errors="replace")[-1500:]
            state = f"exited with {process.poll()}" if process.poll() is not None else "still running"
            raise Failed(f"{program.title}: {exc!r} ({state})\n{tail}") from exc
        finally:
            _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(12)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def measure(program: Program, servers: Servers, load: Load) -> dict[str, float]:
    """One start of a program through every figure of the table."""
    with started(program, servers) as (pid, token, begun):
        ready = servers.ready(token, 60) - begun
        cpu_ready = cpu_seconds(pid)
        time.sleep(IDLE)
        idle = rss_mb(pid)

        chats = list(range(1000, 1000 + CHATS))
        servers.drive(token, {"chats": chats, "first": 1, "turns": 1}, 120)
        cpu = cpu_seconds(pid)
        closed = servers.drive(token, {"chats": chats, "first": 2, "turns": load.turns}, 1200)
        turns = CHATS * load.turns
        cpu = (cpu_seconds(pid) - cpu) / turns

        others = list(range(2000, 2000 + CHATS))  # new chats: pacing by chat starts afresh
        plan = {"chats": others, "first": 1, "turns": load.open_turns, "rate": load.rate}
        before = cpu_seconds(pid)
        paced = servers.drive(token, plan, 600)["latencies"]
        paced_cpu = (cpu_seconds(pid) - before) / len(paced)
        return {
            "cpu_per_turn_ms": cpu * 1e3,
            "paced_cpu_per_turn_ms": paced_cpu * 1e3,
            "latency_p50_ms": percentile(paced, 0.50) * 1e3,
            "latency_p99_ms": percentile(paced, 0.99) * 1e3,
            "busy_latency_p50_ms": percentile(closed["latencies"], 0.50) * 1e3,
            "busy_latency_p99_ms": percentile(closed["latencies"], 0.99) * 1e3,
            "busy_turns_per_second": turns / closed["seconds"],
            "idle_rss_mb": idle,
            "after_rss_mb": rss_mb(pid),
            "ready_s": ready,
            "ready_cpu_s": cpu_ready,
            "calls_per_turn": sum(closed["calls"].get(name, 0) for name in ("sendmessage", "editmessagetext"))
            / turns,
        }


def measure_long(program: Program, servers: Servers, late: int, window: int = 50) -> dict[str, float]:
    """CPU per turn early (turns 10 to 10 + `window`) and late in one conversation, in milliseconds."""
    with started(program, servers) as (pid, token, _):
        servers.ready(token, 60)

        def drive(first: int, turns: int, chat: int = 3000) -> float:
            before = cpu_seconds(pid)
            servers.drive(token, {"chats": [chat], "first": first, "turns": turns}, 3600)
            return (cpu_seconds(pid) - before) / turns * 1e3

        drive(1, 2 * window, chat=3001)  # or the early turns would pay for the process's own first steps
        drive(1, 9)
        early = drive(10, window)
        drive(10 + window, late - 10 - window)
        return {"early_ms": early, "late_ms": drive(late, window)}


def measure_prompt(arguments: Sequence[str], prompt: bytes, within: float = 30) -> dict[str, float]:
    """A program on a terminal of its own until its output matches `prompt`: seconds, CPU seconds, memory a second later."""
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = pty.openpty()
        begun = time.monotonic()
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "PYTHONDONTWRITEBYTECODE")
        }
        environment.update(PYTHONPATH=str(ROOT), TERM="xterm-256color")
        process = subprocess.Popen(
            arguments,
            cwd=directory,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        seen = b""
        try:
            while not re.search(prompt, seen, re.DOTALL):
                left = begun + within - time.monotonic()
                if left <= 0 or not select.select([ours], [], [], left)[0]:
                    raise Failed(f"no prompt within {within:g} s; last seen: {seen[-300:]!r}")
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # the terminal's other side was closed
                    raise Failed(f"it ended before its prompt; last seen: {seen[-300:]!r}") from None
                if b"\x1b[6n" in piece:
                    os.write(ours, b"\x1b[1;1R")  # the place of the cursor, as a terminal answers
                seen += piece
            seconds, cpu = time.monotonic() - begun, cpu_seconds(process.pid)
            time.sleep(1)
            return {"seconds": seconds, "cpu_s": cpu, "rss_mb": rss_mb(process.pid)}
        finally:
            process.kill()
            process.wait()
            os.close(ours)
