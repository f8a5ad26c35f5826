"""`make bench`: measures every program in one run, prints the tables and keeps them in `benchmarks/results`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.catalogue import BARE, BOSWELL, LEAN, LONG, ag2
from benchmarks.measure import (
    CHATS,
    Failed,
    Load,
    Program,
    Servers,
    measure,
    measure_long,
    measure_prompt,
    servers,
)

PROMPT = rb"\x1b\[\?2004h.*>"  # the line editor has taken the terminal over and drawn its sign
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Exit code 0 when everything was measured, 1 when something could not be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, printed and not kept")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PROGRAM",
        help="boswell, bare, lean, ag2, chat, long, slack, schedules, search, recall; printed, not kept",
    )
    parser.add_argument("--locomo", type=Path, help="LoCoMo's locomo10.json, to measure recall with")
    options = parser.parse_args()
    quick, only = options.quick, options.only
    load = Load(turns=5, open_turns=1) if quick else Load()
    rounds, late = (1, 200) if quick else (3, 1000)
    problems: list[str] = []

    def attempt(name: str, work: Callable[[], Any]) -> Any:
        """What `work` returns; None where it failed, which is told and does not keep the rest from being measured."""
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            return work()
        except Failed as exc:
            print(exc, file=sys.stderr, flush=True)
            problems.append(str(exc).splitlines()[0])
            return None

    def wanted(name: str) -> bool:
        return not only or name in only

    load_average = " ".join(f"{value:.1f}" for value in os.getloadavg())
    programs = [program for program in (BOSWELL, BARE, LEAN) if wanted(program.name)]
    if wanted("ag2") and (fourth := attempt("ag2's environment", ag2)):
        programs.append(fourth)

    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": report.machine(),
        "load_average": load_average,
        "rounds": rounds,
        "load": {"chats": CHATS, "turns": load.turns, "open_turns": load.open_turns, "rate": load.rate},
        "problems": problems,
    }
    with servers() as there:
        results["programs"] = _in_turns(programs, there, load, rounds, attempt)
        if wanted("long") and (
            long := attempt(LONG.title, lambda: measure_long(LONG, there, late, 20 if quick else 50))
        ):
            results["long"] = {**long, "late": late}
        if wanted("schedules"):
            from benchmarks.schedules import measure_pending

            results["schedules"] = attempt("reminders that wait", lambda: measure_pending(there, rounds))
        if wanted("search"):
            from benchmarks.search import measure_turns

            turns = attempt("turns beside the search index", lambda: measure_turns(there, rounds))
            results["search"] = turns or {}
    if wanted("search"):
        from benchmarks.search import measure_search

        people = 20 if quick else 1000
        queries = attempt("search", lambda: measure_search(people, 1000, rounds))
        results["search"] |= {**(queries or {}), "people": people}
    if wanted("recall"):
        from benchmarks.recall import FIRST_HALF, embedder_of, measure_recall

        results["recall"] = attempt(
            "recall", lambda: measure_recall(options.locomo, FIRST_HALF, embedder_of())
        )
    if wanted("chat"):
        command = [sys.executable, "-m", "bot.cli", "chat"]
        measured = [attempt("boswell chat", lambda: measure_prompt(command, PROMPT)) for _ in range(rounds)]
        if all(measured):
            results["chat"] = {key: statistics.median(m[key] for m in measured) for key in measured[0]}
    if wanted("slack"):
        from benchmarks.slack_ack import MODES, measure_acks

        acks = {mode: attempt(f"slack over {mode}", lambda mode=mode: measure_acks(mode)) for mode in MODES}  # type: ignore[misc]
        results["slack_ack"] = {mode: found for mode, found in acks.items() if found}
    results["targets"] = report.targets(results)

    text = report.render(results)
    print(text)
    if not quick and not only:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{results['date']}.md"
        path.write_text(text, encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"Kept in benchmarks/results/{path.name}", file=sys.stderr)
    return 1 if problems else 0


def _in_turns(
    programs: list[Program],
    there: Servers,
    load: Load,
    rounds: int,
    attempt: Callable[[str, Callable[[], Any]], Any],
) -> dict[str, Any]:
    """Each program once per round, another one first each time: a busy minute of the machine then hurts them all alike."""
    measured: dict[str, list[dict[str, float]]] = {program.name: [] for program in programs}
    for number in range(rounds):
        shift = number % len(programs) if programs else 0
        for program in programs[shift:] + programs[:shift]:
            result = attempt(
                f"{program.title}, round {number + 1} of {rounds}",
                lambda program=program: measure(program, there, load),  # type: ignore[misc]
            )
            if result is not None:
                measured[program.name].append(result)
    return {
        program.name: {
            "title": program.title,
            "median": {key: statistics.median(r[key] for r in found) for key in found[0]},
            "rounds": found,
        }
        for program in programs
        if (found := measured[program.name])
    }


if __name__ == "__main__":
    sys.exit(main())
