"""What a model writes can not ping anybody or disguise a link, and nothing of it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack.formatting import MAX_CHARS, content, length, markdown, plain_content, settled

PIECES = [
    "[",
    "]",
    "(",
    ")",
    "http://a.example",
    "bank.example",
    "\n",
    "&",
    "lt;",
    "<",
    "!",
    "x",
    " ",
    "]:",
    "`",
    "> ",
]
TEXTS = st.lists(st.sampled_from([*PIECES, "[bank.example](http://evil.example)"]), max_size=14).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "<!channel>",
        "<!here|here>",
        "<@U1>",
        "`<!everyone>`",
        "```\n<!subteam^S1>\n```",
        "<#C1|x>",
        "<http://e.example|bank>",
    ],
)
def test_no_control_sequence_acts(text: str) -> None:
    for made in (content(text), plain_content(text)):
        assert "<" not in made["text"]
        assert all("<" not in block["text"] for block in made["blocks"] if block["type"] == "markdown")


def test_brackets_and_entities_are_shown_as_they_were_written() -> None:
    assert markdown("a < b && c > d, &lt; and AT&T") == "a &lt; b && c > d, &amp;lt; and AT&T"


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[bank.example](https://evil.example/x)", "bank.example (https://evil.example/x)"),
        ("[https://bank.example](https://evil.example)", "https://bank.example (https://evil.example)"),
        ("[**bank.example**](https://evil.example)", "**bank.example** (https://evil.example)"),
        ("[b\u200bank.example](https://evil.example)", "b\u200bank.example (https://evil.example)"),
        (
            "[bank.example](https://bank.example@evil.example)",
            "bank.example (https://bank.example@evil.example)",
        ),
        ("![bank.example](https://evil.example)", "bank.example (https://evil.example)"),
        (
            "[bank.example][1]\n\n[1]: https://evil.example",
            "[bank.example][1]\n\n\\[1]: https://evil.example",
        ),
        ("[the page](https://a.example/b_(c))", "[the page](https://a.example/b_(c))"),
        ("[a.example](https://www.a.example/x)", "[a.example](https://www.a.example/x)"),
    ],
)
def test_a_link_that_looks_like_another_address_shows_its_own(link: str, shown: str) -> None:
    assert markdown(link) == shown


@given(TEXTS)
def test_what_is_settled_never_changes_as_the_text_grows(text: str) -> None:
    whole = markdown(text)
    for end in range(len(text) + 1):
        assert whole.startswith(markdown(settled(text[:end])))


@given(st.text(max_size=300) | TEXTS)
def test_the_length_is_an_upper_bound(text: str) -> None:
    assert len(markdown(text)) <= length(text)


@pytest.mark.parametrize("unit", ["<", "&lt;", "]:", "😀", "x", "[a](b)"])
def test_the_longest_text_fits_into_slacks_limits(unit: str) -> None:
    text = unit * (MAX_CHARS // length(unit))
    assert len(content(text)["blocks"][0]["text"]) <= 12_000
    made = plain_content(text)
    assert len(made["blocks"]) <= 50
    assert all(len(block["text"]["text"]) <= 3_000 for block in made["blocks"])
    assert "".join(block["text"]["text"] for block in made["blocks"]) == text
    assert len(made["text"]) <= 4_000
