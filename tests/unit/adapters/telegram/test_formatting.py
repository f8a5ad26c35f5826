"""A model's Markdown reaches Telegram's screen whole, and formatted where it can be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.telegram.formatting import MAX_CHARS, linkable, render, utf16_length


def marked(message: dict, kind: str) -> list[str]:
    data = message["text"].encode("utf-16-le")
    return [
        data[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le")
        for e in message.get("entities", [])
        if e["type"] == kind
    ]


def test_common_markdown_becomes_entities() -> None:
    message = render(
        "# Plan\n\n**bold** _it_ `x<y` [docs](https://a.example/b)\n\n```python\nprint('<b>')\n```\n\n- one\n- two"
    )
    assert marked(message, "bold") == ["Plan", "bold"]
    assert marked(message, "italic") == ["it"]
    assert marked(message, "code") == ["x<y"]
    assert marked(message, "text_link") == ["docs"]
    assert marked(message, "pre") == ["print('<b>')"]
    assert "• one\n• two" in message["text"]
    assert message["text"].startswith("Plan\n")


def test_offsets_count_utf16_units() -> None:
    assert marked(render("😀😀 **fett** 👩‍👩‍👧 `ö`"), "bold") == ["fett"]
    assert marked(render("😀😀 **fett** 👩‍👩‍👧 `ö`"), "code") == ["ö"]
    assert utf16_length("a😀") == 3


@pytest.mark.parametrize(
    "text",
    [
        "use <b>bold</b> and List<int>",
        "<div>\n<p>text</p>\n</div>",
        "<!-- a comment -->",
        "<tg-spoiler>x</tg-spoiler>",
        "a || b || c",
        "PATH=$HOME/bin:$PATH",
        "it costs $5 or 6$",
        "[x](y)",
        "[j](javascript:alert(1))",
        "[u](tg://user?id=1)",
        "[l](http://localhost:8080/a)",
        "![](https://a.example/b.png)",
        "[](https://a.example)",
        "[Anna]: Hello",
        "<someone@a.example>",
        "@everyone and @channel",
        "1 < 2 && 3 > 2",
        "```",
        "\u202eright to left\u202c",
    ],
)
def test_what_telegram_has_no_form_for_stands_as_it_was_written(text: str) -> None:
    assert render(text)["text"] == text


def test_a_link_telegram_drops_keeps_its_target_among_links_that_work() -> None:
    message = render(
        "see [here](notes.txt), [there](https://a.example/x) and [ref][1]\n\n[1]: https://b.example"
    )
    assert message["text"] == "see [here](notes.txt), there and ref"
    assert [e["url"] for e in message["entities"]] == ["https://a.example/x", "https://b.example"]


def test_table_keeps_empty_cells_and_links() -> None:
    message = render("| a || b |\n|--|--|--|\n| 1 | [x](https://u.example) | 3 |")
    assert "[x](https://u.example)" in message["text"]
    assert len(marked(message, "pre")) == 1


def test_code_is_never_escaped() -> None:
    code = 'if (a<b || c>d) { x = "<b>$HOME and $PATH</b>"; [y](z) }'
    for markdown in (
        f"<i>see</i>\n\n```c\n{code}\n```",
        f"<i>see</i> `{code}`",
        f"<div>\n\n```\n{code}\n```\n",
    ):
        assert code in render(markdown)["text"]


def test_unclosed_fence_is_code_to_the_end() -> None:
    assert marked(render("look:\n```py\nx = 1\ny = 2"), "pre") == ["x = 1\ny = 2"]


def test_what_vanishes_or_grows_too_long_when_formatted_comes_back_plain() -> None:
    assert render("```\n```")["text"] == "```\n```"
    wide = "| " + "a" * 200 + " | b |\n|--|--|\n" + "| 1 | 2 |\n" * 60
    assert utf16_length(wide) < MAX_CHARS
    assert render(wide) == {"text": wide}


def test_html_that_never_ends_is_sent_plain_and_quickly() -> None:
    text = "<div>\n" * 600
    assert render(text) == {"text": text}


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://a.example", True),
        ("http://192.0.2.1:80/x", True),
        ("https://[2001:db8::1]/", True),
        ("https://", False),
        ("https://localhost", False),
        ("https://a b.example", False),
        ("ftp://a.example", False),
        ("//a.example", False),
        ("https://[::1", False),
        ("https://a.example/" + "x" * 3000, False),
    ],
)
def test_only_links_that_telegram_makes_are_links(url: str, good: bool) -> None:
    assert linkable(url) is good


_MARKS = (
    "*",
    "**",
    "_",
    "`",
    "```",
    "~~",
    "||",
    "|",
    "[",
    "]",
    "(",
    ")",
    "](",
    "![",
    "<",
    ">",
    "<b>",
    "</b>",
    "<div>",
)
_MORE = ("$", "$$", "\\", "x", "😀", "&amp;", "https://a.example", "---", ":")
_SPACED = ("\n", "\n\n", "# ", "- ", "1. ", "> ", "    ", "\t", "word ", "- [ ] ")
PIECES = st.sampled_from([*_MARKS, *_MORE, *_SPACED])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_renders_to_entities_that_lie_within_it(text: str) -> None:
    message = render(text)
    length = utf16_length(message["text"])
    assert message["text"].strip() or not text.strip()
    for entity in message.get("entities", []):
        assert 0 <= entity["offset"] < entity["offset"] + entity["length"] <= length
        if entity["type"] == "text_link":
            assert linkable(entity["url"])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_no_letter_is_ever_lost(text: str) -> None:
    """Words and tags are content; marks of formatting may go. A block's language stands above it, a link's address below."""
    message = render(text)
    entities = message.get("entities", [])
    shown = message["text"] + "".join(e.get("language", "") + e.get("url", "") for e in entities)
    for piece in ("x", "word", "😀", "div"):
        assert shown.count(piece) >= text.count(piece)
