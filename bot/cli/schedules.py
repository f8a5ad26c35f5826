"""`boswell schedules`: what is done by the clock, reminders and the operator's own, without anybody's words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli import main
from bot.cli.shared import config_option, load_config, printable, read

if TYPE_CHECKING:
    from memory.schedules import Schedule


@main.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def schedules(path: Path | None, as_json: bool) -> None:
    """What is done by the clock, the next first.

    Nobody's words are in it.
    """
    from memory.schedules import every

    found = [_facts(each) for each in read(load_config(path, secrets=False).config, every)]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for one in found:
        due = datetime.fromtimestamp(one["next_at"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        state = f"  {one['state']}" + (f": {one['problem']}" if one["problem"] else "")
        what = one["name"] or one["kind"]
        click.echo(
            printable(
                f"{one['id']:>5}  {due}  {what} to {one['user']} in {one['chat'] or 'private'}, {one['rule']}{state}"
            )
        )
    if not found:
        click.echo("Nothing is scheduled.")


def _facts(schedule: Schedule) -> dict[str, Any]:
    from bot import times, triggers

    try:
        rule = times.rule(triggers.load(schedule.trigger), schedule.zone)
    except (ValueError, KeyError, OverflowError, OSError):
        rule = "?"
    zone = f" ({schedule.zone})"  # a moment says it already
    return {
        "id": schedule.id,
        "kind": schedule.kind,
        "name": schedule.name,
        "user": schedule.user_id,
        "chat": schedule.chat_key,
        "work": schedule.work,
        "rule": rule.removesuffix(zone) + zone,
        "next_at": schedule.next_at,
        "state": schedule.state,
        "problem": schedule.problem,
    }
