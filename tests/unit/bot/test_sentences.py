"""What Boswell says: every sentence in one file, each used, each fit to be translated."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import errors, sentences
from bot.errors import LimitReached, ModelError
from bot.limits import Spent
from config.schema import LimitsConfig

ROOT = Path(__file__).parents[3]
ENGLISH = tomllib.loads((sentences.FOLDER / "en.toml").read_text())
DAYS = [key for key in LimitsConfig.model_fields if key.endswith("_per_day")]
MIDNIGHT = 1795302000.0  # of 2026-11-21 to 22 in Vienna


@pytest.fixture
def translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for languages with English in it; what is put there before the first sentence is found."""
    (tmp_path / "en.toml").write_text((sentences.FOLDER / "en.toml").read_text())
    monkeypatch.setattr(sentences, "FOLDER", tmp_path)
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    sentences._catalogues.cache_clear()
    sentences._template.cache_clear()


def _code() -> Iterator[ast.AST]:
    for path in (ROOT / "bot").rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text()))


def _said() -> set[str]:
    """The keys of all sentences that the code asks for by name."""
    said = {f"help_{name}" for name in _commands()}
    for node in _code():
        match node:
            case ast.Call(func=ast.Attribute(attr="say" | "_own") | ast.Name(id="say"), args=args):
                for part in args:
                    said |= {c.value for c in ast.walk(part) if isinstance(c, ast.Constant) and c.value}
            case ast.Attribute(value=ast.Name(id="sentences"), attr=name) if name.isupper():
                said.add(name.lower())
            case _:
                pass
    return said


def _commands() -> list[str]:
    from bot.commands import COMMANDS

    assert [command.help for command in COMMANDS.values()] == [f"help_{name}" for name in COMMANDS]
    return list(COMMANDS)


def _constants() -> set[str]:
    return {node.value for node in _code() if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_sentence_is_used() -> None:
    by_limit = {f"limit_{key}" for key in [*DAYS, "turns_per_minute"]}
    by_limit |= {f"used_{key}" for key in DAYS if not key.startswith("total_")}
    by_limit |= {"warn_chat", "warn_total"}
    assert set(ENGLISH) - by_limit - _constants() - {f"help_{name}" for name in _commands()} == set()


def test_every_sentence_that_is_asked_for_is_there() -> None:
    assert {key for key in _said() if re.fullmatch(r"[a-z_]+", str(key))} - set(ENGLISH) == set()


def test_every_limit_has_its_own_sentence() -> None:
    said = {
        sentences.limit_reached(LimitReached(key, MIDNIGHT), "UTC") for key in [*DAYS, "turns_per_minute"]
    }
    assert len(said) == len(DAYS) + 1
    assert sentences.limit_reached(LimitReached("new", MIDNIGHT), "UTC") not in said


@pytest.mark.parametrize("path", sorted(sentences.FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_a_translation_has_known_sentences_with_the_same_placeholders(path: Path) -> None:
    found = tomllib.loads(path.read_text())
    assert [key for key, text in found.items() if not sentences.fits(key, text, ENGLISH)] == []


def test_english_can_be_filled_in_and_holds_nothing_but_names_in_its_braces() -> None:
    assert [key for key, text in ENGLISH.items() if sentences.placeholders(text) is None] == []


@pytest.mark.parametrize("text", ["{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{", "}", "{a"])
def test_braces_that_could_reach_further_are_wrong(text: str) -> None:
    assert sentences.placeholders(text) is None


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", "Angehalten."),
        ("de-AT", "Angehalten."),
        ("DE_at", "Angehalten."),
        ("de-CH", "Gestoppt."),
        ("de-CH-1901", "Gestoppt."),
        ("en", "Stopped."),
        ("en-GB", "Stopped."),
        ("fr", "Stopped."),
        ("", "Stopped."),
        ("../de", "Stopped."),
    ],
)
def test_the_nearest_language_is_spoken(translated: Path, language: str, expected: str) -> None:
    (translated / "de.toml").write_text('stopped = "Angehalten."')
    (translated / "de-CH.toml").write_text('stopped = "Gestoppt."')
    assert sentences.say("stopped", language) == expected


def test_what_a_translation_lacks_or_has_wrong_is_said_in_english(translated: Path) -> None:
    (translated / "de.toml").write_text(
        'stopped = "Angehalten."\nunknown_command = "Ich kenne /{befehl} nicht."\nrefused = 7\nnew = "Neu"'
    )
    (translated / "fr.toml").write_text("this is no TOML")
    assert sentences.say("stopped", "de") == "Angehalten."
    assert sentences.say("cleared", "de") == ENGLISH["cleared"]
    assert sentences.say("unknown_command", "de", command="x") == "I do not know /x. /help lists what I know."
    assert sentences.say("refused", "de", user_id="u").startswith("Sorry")
    assert sentences.say("stopped", "fr") == "Stopped."


def test_what_is_filled_in_is_not_read_as_a_placeholder() -> None:
    assert sentences.say("unknown_command", command="{user_id}").startswith("I do not know /{user_id}.")


@pytest.mark.parametrize(
    ("until", "now", "zone", "expected"),
    [
        (MIDNIGHT, MIDNIGHT - 3600, "Europe/Vienna", "until 00:00 (Europe/Vienna)."),
        (MIDNIGHT, MIDNIGHT - 3600, "UTC", "until 23:00 (UTC)."),
        (MIDNIGHT + 0.5, MIDNIGHT, "Europe/Vienna", "until 00:01 (Europe/Vienna)."),
        (MIDNIGHT + 90_000, MIDNIGHT, "Europe/Vienna", "until 2026-11-23 01:00 (Europe/Vienna)."),
    ],
)
def test_a_limit_tells_by_the_persons_clock_when_it_ends_and_never_too_early(
    until: float, now: float, zone: str, expected: str
) -> None:
    assert sentences.limit_reached(LimitReached("usd_per_day", until), zone, now=now).endswith(expected)


def test_a_limit_that_ends_a_turn_carries_the_reference_like_every_failure() -> None:
    text = sentences.failure(LimitReached("usd_per_day", MIDNIGHT), "t7", "", "Europe/Vienna")
    assert text.endswith("(Europe/Vienna). (ref t7)")


@pytest.mark.parametrize(
    ("limit", "used", "most", "expected"),
    [
        ("tokens_per_day", 800.0, 1000.0, "80 % of what you may use in a day"),
        ("chat_usd_per_day", 0.899, 1.0, "89 % of what this chat may use in a day"),
        ("total_usd_per_day", 3.0, 1.0, "100 % of what I may use in a day"),
        ("turns_per_day", 0.0, 0.0, "100 % of what you may use in a day"),
    ],
)
def test_a_warning_tells_whose_limit_it_is_and_how_much_is_used(
    limit: str, used: float, most: float, expected: str
) -> None:
    text = sentences.limit_warning(Spent(limit, used, most, MIDNIGHT), "Europe/Vienna", now=MIDNIGHT - 1)
    assert expected in text
    assert "until 00:00 (Europe/Vienna)" in text


def test_what_is_used_of_a_limit_is_told_in_numbers() -> None:
    used = sentences.limit_used(Spent("tokens_per_day", 1234.0, 5000.0, MIDNIGHT), "UTC", now=MIDNIGHT)
    assert "1,234 of 5,000, until 23:00 (UTC)" in used
    used = sentences.limit_used(Spent("usd_per_day", 0.01234, 0.5, MIDNIGHT), "UTC", now=MIDNIGHT)
    assert "0.0123 of 0.5000 USD" in used


def test_every_error_of_the_tree_has_a_sentence_and_none_says_what_a_provider_said() -> None:
    def all_of(cls: type[ModelError]) -> Iterator[type[ModelError]]:
        yield cls
        for sub in cls.__subclasses__():
            yield from all_of(sub)

    said = {cls: sentences.failure(cls("main", "RAW-WORDS"), "t1") for cls in all_of(ModelError)}
    said[RuntimeError] = sentences.failure(RuntimeError("RAW-WORDS"), "t1")  # type: ignore[index]
    assert not any("RAW-WORDS" in text for text in said.values())
    assert all(text.endswith(" (ref t1)") for text in said.values())
    del said[ModelError]  # what has no kind of its own is told like a provider that can not be reached
    assert len(set(said.values())) == len(said)
    assert sentences.kind(errors.ContextTooLong("m", "p")) == "ContextTooLong"


def test_a_constant_that_is_no_sentence_is_an_error() -> None:
    with pytest.raises(AttributeError):
        _ = sentences.NO_SUCH_SENTENCE
    with pytest.raises(AttributeError):
        _ = sentences.stopped


def test_the_command_line_reads_no_sentences_for_its_help() -> None:
    code = "import sys, bot.cli; assert 'bot.sentences' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
