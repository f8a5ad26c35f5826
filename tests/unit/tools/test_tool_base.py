"""How a function becomes a tool, and what a model is told when its arguments do not fit."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from bot.events import ToolCall, Variables
from bot.tools import ALL
from bot.tools.base import ToolContext, ToolProblem, tool
from config.schema import AgentConfig
from memory.transcripts import Transcripts


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    return ToolContext(Variables("telegram-1"), Transcripts(tmp_path), lambda: 0.0)


def weigh(
    context: ToolContext, grams: Annotated[int, Field(ge=0, description="How heavy.")], label: str = "it"
) -> object:
    """Say what something weighs."""
    return {
        "who": context.variables.user_id,
        "grams": grams,
        "label": label,
        "main": threading.current_thread() is threading.main_thread(),
    }


async def wait(context: ToolContext, seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(0)
    return f"waited {seconds}"


def test_a_model_sees_name_docstring_and_arguments_and_no_context() -> None:
    assert tool(weigh).spec.name == "weigh"
    assert tool(weigh).spec.description == "Say what something weighs."
    assert tool(weigh).spec.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["grams"],
        "properties": {
            "grams": {"type": "integer", "minimum": 0, "description": "How heavy."},
            "label": {"type": "string", "default": "it"},
        },
    }


async def test_a_plain_function_runs_in_a_thread_and_its_result_is_told_as_json(context: ToolContext) -> None:
    result = await tool(weigh).call(ToolCall("1", "weigh", '{"grams": 3}'), context)

    assert result == '{"who": "telegram-1", "grams": 3, "label": "it", "main": false}'


async def test_a_coroutine_function_runs_on_the_loop(context: ToolContext) -> None:
    assert await tool(wait).call(ToolCall("1", "wait", '{"seconds": 2}'), context) == "waited 2.0"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "the argument 'grams' is missing"),
        ("  \n", "the argument 'grams' is missing"),
        ('{"grams": 1, "user_id": "telegram-2"}', "there is no argument 'user_id'"),
        ('{"grams": 1, "context": {}}', "there is no argument 'context'"),
        (
            '{"grams": "heavy"}',
            "the argument 'grams' must be a valid integer, unable to parse string as an integer",
        ),
        ('{"grams": -1}', "the argument 'grams' must be greater than or equal to 0"),
        ('{"grams": 1, "label": null}', "the argument 'label' must be a valid string"),
        ('{"grams": ', "the arguments are not valid JSON"),
        ("[1]", "the arguments must be one JSON object"),
        ("null", "the arguments must be one JSON object"),
    ],
)
async def test_arguments_that_do_not_fit_are_explained_in_plain_words(
    context: ToolContext, arguments: str, problem: str
) -> None:
    with pytest.raises(ToolProblem) as raised:
        await tool(weigh).call(ToolCall("1", "weigh", arguments), context)
    assert str(raised.value) == f"weigh was not run: {problem}. Its arguments are: grams, label."


async def test_a_flood_of_wrong_arguments_is_answered_shortly(context: ToolContext) -> None:
    arguments = "{" + ",".join(f'"{"x" * 500}{n}": 1' for n in range(500)) + "}"
    with pytest.raises(ToolProblem) as raised:
        await tool(weigh).call(ToolCall("1", "weigh", arguments), context)
    assert len(str(raised.value)) < 500


def test_all_tools_that_the_configuration_knows_are_there() -> None:
    assert set(AgentConfig().tools) == set(ALL)
