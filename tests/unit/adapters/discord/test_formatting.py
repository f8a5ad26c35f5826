from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.formatting import MAX_CHARS, attachment, render

ZERO_WIDTH = "\u200b"
CODE = "```py\nif a || b:\n    print('@everyone <@5>')  # >>> [x.com](https://y.com)\n```"


@pytest.mark.parametrize(
    "text",
    [
        "plain words, grüße 👋",
        "# one\n## two\n### three",
        "**bold** *it* ~~gone~~ `code` [a link](https://example.com/a_(b))",
        "> quoted\n\n- a\n- b\n  1. c",
        "[example.com](https://www.example.com/path)",
        "a | b without a table",
        "snake_case, __name, a__b__c and 2 * 3 * 4",
        CODE,
        "`@everyone || <@5>`",
        "```never closed\n",
    ],
)
def test_what_discord_reads_as_it_is_meant_stays_as_it_is(text: str) -> None:
    assert render(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("#### four\n###### six", "### four\n### six"),
        ("__strong__ and __very strong__", "**strong** and **very strong**"),
        ("![a cat](https://example.com/cat.png)", "[a cat](https://example.com/cat.png)"),
        ("true || false || none", r"true \|\| false \|\| none"),
        (">>> import this\nnext", "\\>>> import this\nnext"),
        ("-# fine print", "\\-# fine print"),
        ("~~~py\nx\n~~~", "```py\nx\n```"),
        ("```print(1) # no language\nx\n```", "```\nprint(1) # no language\nx\n```"),
    ],
)
def test_what_discord_reads_otherwise_is_put_into_its_words(text: str, shown: str) -> None:
    assert render(text) == shown


def test_a_table_becomes_a_block_of_code_with_aligned_columns() -> None:
    table = "| name | n |\n|:--|--:|\n| **Anna** | 1 |\n| 猫 | 22 \\| 3 |\n"
    assert render(f"before\n\n{table}\nafter") == (
        "before\n\n```\nname | n\n-----|-------\nAnna | 1\n猫   | 22 | 3\n```\n\nafter"
    )


@pytest.mark.parametrize("mention", ["@everyone", "@here", "@EVERYONE", "<@80351>", "<@!80351>", "<@&80351>"])
def test_a_mention_outside_code_is_taken_apart(mention: str) -> None:
    shown = render(f"hello {mention} and **{mention}**")
    assert mention not in shown
    assert shown.replace(ZERO_WIDTH, "") == f"hello {mention} and **{mention}**"


@pytest.mark.parametrize(
    "link",
    [
        "[https://bank.example](https://evil.example/x)",
        "[bank.example/login](https://evil.example/x)",
        "[**bank.example**](<https://evil.example/x>)",
        '[bank.example](https://evil.example/x "a title")',
    ],
)
def test_a_link_whose_words_are_another_address_shows_both(link: str) -> None:
    shown = render(link)
    assert "](" not in shown
    assert "bank.example" in shown
    assert "(<https://evil.example/x>)" in shown


def test_a_fence_inside_a_longer_one_does_not_end_it() -> None:
    shown = render("````md\n```py\nx\n```\n````")
    assert shown.startswith("```md\n")
    assert shown.endswith("\n```")
    assert shown.count("```") == 2
    assert shown.replace(ZERO_WIDTH, "") == "```md\n```py\nx\n```\n```"


PIECES = st.sampled_from(
    [
        "@everyone",
        "<@5>",
        "||",
        "`",
        "```",
        "~~~",
        "\n",
        " ",
        "| a | b |",
        "|---|---|",
        "**",
        "__",
        "a",
        "#",
        "####",
        ">>> ",
        "\\",
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_word_is_lost_and_nobody_is_mentioned_whatever_is_written(text: str) -> None:
    shown = render(text)
    letters = re.sub(r"[^a-z5<>@]", "", text)
    assert re.sub(r"[^a-z5<>@]", "", shown) == letters
    prose = re.sub(r"```.*?```|`+[^`]+`+", "", shown, flags=re.DOTALL)
    assert "@everyone" not in prose or "`" in text


@given(st.text(max_size=300))
def test_any_text_can_be_rendered(text: str) -> None:
    render(text)
    attachment(text)


def test_one_long_block_of_code_is_a_file_and_nothing_else_is() -> None:
    code = "x = 1\n" * 1000
    assert attachment(f"```python\n{code}```") == ("code.py", code.encode())
    assert attachment(f"\n```\n{code}```\n") == ("code.txt", code.encode())
    assert attachment(f"look:\n```python\n{code}```") is None
    assert attachment(f"```python\n{code}") is None
    assert attachment("```python\nx = 1\n```") is None
    assert attachment("word " * MAX_CHARS) is None
