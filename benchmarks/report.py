"""The figures as tables beside their targets, and the machine that they were measured on, without its name or paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import ROOT
from benchmarks.recall import render as render_recall

_ROWS = (  # key in a measurement, label, decimals
    ("cpu_per_turn_ms", "CPU per turn, ms", 2),
    ("paced_cpu_per_turn_ms", "CPU per turn at the moderate rate, ms", 2),
    ("latency_p50_ms", "added latency p50, ms", 1),
    ("latency_p99_ms", "added latency p99, ms", 1),
    ("busy_latency_p50_ms", "latency p50 with 20 chats at once, ms", 1),
    ("busy_latency_p99_ms", "latency p99 with 20 chats at once, ms", 1),
    ("busy_turns_per_second", "turns per second with 20 chats at once", 1),
    ("idle_rss_mb", "idle memory before the first turn, MB", 1),
    ("after_rss_mb", "memory after the run, MB", 1),
    ("ready_s", "time to ready, s", 2),
    ("ready_cpu_s", "CPU to ready, s", 2),
    ("calls_per_turn", "messages and edits per turn", 2),
)


def machine() -> dict[str, str]:
    """What a reader needs to judge the figures."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        model = found[1]
    pins = (ROOT / "benchmarks" / "requirements-ag2.txt").read_text()
    ag2 = re.search(r"^ag2==(\S+)", pins, re.MULTILINE)
    packages = ("aiogram", "aiohttp", "openai", "pydantic", "aiosqlite")
    return {
        "CPU": f"{model}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()}, {platform.machine()}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in packages)
        + f", ag2 {ag2[1] if ag2 else '?'}",
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit measured, marked where the programs differ from it."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [
                "git",
                "diff",
                "--quiet",
                "HEAD",
                "--",
                "bot",
                "adapters",
                "memory",
                "config",
                "benchmarks/*.py",
            ],
            cwd=ROOT,
            check=False,
        ).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + (" with uncommitted changes" if changed else "")


def render(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    programs: Mapping[str, Mapping[str, Any]] = results["programs"]
    titles = [program["title"] for program in programs.values()]
    lines = [
        f"# Benchmark of {results['date']}",
        "",
        *(f"- {name}: {value}" for name, value in results["machine"].items()),
        f"- load average before the run: {results['load_average']}",
        "",
        _method(results),
        "",
        "| | " + " | ".join(titles) + " |",
        "|---|" + "---:|" * len(titles),
    ]
    for key, label, decimals in _ROWS:
        cells = (f"{program['median'][key]:.{decimals}f}" for program in programs.values())
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "| Boswell's targets | target | measured | |", "|---|---:|---:|---|"]
    lines += [
        f"| {t['what']} | {t['target']} | {t['measured']} | {t['verdict']} |" for t in results["targets"]
    ]
    lines += _schedules(results.get("schedules"))
    lines += _search(results.get("search", {}))
    if recall := results.get("recall"):
        lines += ["", *render_recall(recall)]
    if results["problems"]:
        lines += ["", "Not measured:", "", *(f"- {problem}" for problem in results["problems"])]
    return "\n".join(lines) + "\n"


def _schedules(found: Mapping[int, Mapping[str, float]] | None) -> list[str]:
    if not found:
        return []
    rows = (
        f"| {pending:,} | {of['ready_s']:.2f} | {of['ready_cpu_s']:.2f} | {of['look_us']:.0f} | {of['fire_ms']:.2f} |"
        for pending, of in found.items()
    )
    return [
        "",
        "| reminders that are not due | time to ready, s | CPU to ready, s | a look of the scheduler, µs | a firing, ms |",
        "|---:|---:|---:|---:|---:|",
        *rows,
    ]


def _search(found: Mapping[str, Any]) -> list[str]:
    if "search_ms" not in found:
        return []
    rows = (
        ("a search, its files looked through, with its passages and their neighbours, ms", "search_ms", 2),
        ("the first search of a person since the start, ms", "first_ms", 2),
        ("the bare FTS5 query of the same words, in a table of that person alone, ms", "own_ms", 2),
        (
            "the bare FTS5 query of the same words, in one table of everybody with a column for who, ms",
            "everybody_ms",
            2,
        ),
        ("indexes made anew, lines a second", "rebuild_lines_per_second", 0),
        ("size of the indexes, to the transcripts", "index_to_text", 1),
    )
    head = f"search in {found['lines']:,.0f} lines of {found['people']:,} people"
    return [
        "",
        f"| {head} | |",
        "|---|---:|",
        *(f"| {what} | {found[key]:,.{n}f} |" for what, key, n in rows),
    ]


def _method(results: Mapping[str, Any]) -> str:
    load, rounds = results["load"], results["rounds"]
    return (
        f"Medians of {rounds} rounds in which the programs took turns, each in its own process, against a Bot API server "
        "and a chat-completions server in theirs: 60 chunks a reply, each sent on its own, no delay in the model. "
        f"CPU per turn: user and system time of the process, over {load['chats']} chats of {load['turns']} turns after "
        "one turn each to warm up, every chat writing again as soon as it was answered. Added latency: from getUpdates "
        f"handing a message out to the last edit of its reply, over {load['open_turns']} turns in each of "
        f"{load['chats']} new chats, {load['rate']:g} turns a second in all: the moderate rate, at which turns "
        "rarely wait for one another. "
        "Ready: the first getUpdates. Memory: resident; idle is 2 s after ready."
    )


def targets(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was promised beside what was measured; what could not be measured is left out."""
    rows: list[dict[str, str]] = []

    def row(what: str, measured: float, limit: float, unit: str = "", aim: str = "") -> None:
        verdict = "met" if measured <= limit else "missed"
        rows.append(
            {
                "what": what,
                "target": f"≤ {limit:g}{unit}{aim}",
                "measured": f"{measured:.2f}{unit}",
                "verdict": verdict,
            }
        )

    programs = results["programs"]
    if "boswell" in programs and "bare" in programs:
        ours, bare = programs["boswell"]["median"], programs["bare"]["median"]
        for key, what, limit, aim in (
            ("cpu_per_turn_ms", "CPU per turn, to the bare handler", 0.5, ", aiming at 0.25"),
            # Not asked for, and hardest to keep: turns that come one by one share little with each other.
            ("paced_cpu_per_turn_ms", "CPU per turn at the moderate rate, to the bare handler", 0.5, ""),
            ("idle_rss_mb", "idle memory, to the bare handler", 1.0, ""),
            ("ready_s", "time to ready, to the bare handler", 1.0, ""),
        ):
            row(what, ours[key] / bare[key], limit, aim=aim)
    if chat := results.get("chat"):
        row("`boswell chat` to its prompt, CPU", chat["cpu_s"], 1.0, " s")
        row("`boswell chat` at its prompt, memory", chat["rss_mb"], 60, " MB")
    for mode, acks in results.get("slack_ack", {}).items():
        row(f"Slack over {mode}: the worst of 200 acknowledgements at once", acks["worst_s"], 1.0, " s")
    if found := results.get("schedules"):
        few, many = found[min(found)], found[max(found)]
        for key, what in (
            ("ready_cpu_s", "CPU to ready"),
            ("look_us", "a look of the scheduler"),
            ("fire_ms", "a firing"),
        ):
            row(f"{what} with {max(found):,} reminders that are not due, to none", many[key] / few[key], 1.2)
    if recall := results.get("recall"):
        rows += _recall_targets(recall["found"])
    search = results.get("search", {})
    if "search_ms" in search:
        row(
            "a person's search, to the bare FTS5 query in one table of everybody",
            search["search_ms"] / search["everybody_ms"],
            1.5,
        )
        row(
            "the same, to the bare FTS5 query in a table of that person alone",
            search["search_ms"] / search["own_ms"],
            1.5,
        )
    if "indexed_cpu_ms" in search:
        ratio = search["indexed_cpu_ms"] / search["unindexed_cpu_ms"]
        row("CPU per turn with the search index, all that is indexed included, to without", ratio, 1.05)
    if long := results.get("long"):
        ratio = long["late_ms"] / long["early_ms"]
        row(f"CPU of turn {long['late']:g}, to turn 10 of the same conversation", ratio, 1.2)
    return rows


def _recall_targets(found: Mapping[str, Mapping[str, float]]) -> list[dict[str, str]]:
    """Of the questions, those for which all of the evidence is among the first ten passages."""
    of = {name: figures["all @10"] for name, figures in found.items()}
    wanted = [("words alone", of["plain BM25"], "plain BM25")]
    if "fused" in of:
        wanted += [
            ("fused", max(of["words alone"], of["meaning alone"]), "words alone, and meaning alone"),
            ("fused", 0.65, "what was asked for"),
        ]
    return [
        {
            "what": f"recall at 10 by {name}, to {beside}",
            "target": f"≥ {least:.3f}",
            "measured": f"{of[name]:.3f}",
            "verdict": "met" if of[name] >= least else "missed",
        }
        for name, least, beside in wanted
    ]
