"""Long Markdown is cut where it hurts least, and nothing is lost."""

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.text import pieces, split, split_around_code, utf16_length

LIMITS = st.integers(50, 400)
FENCE_LINE = re.compile(r"\s*(`{3,}|~{3,})\s*")
PIECES = st.sampled_from(
    [
        "```",
        "~~~",
        "````",
        "```python",
        "~~~~ js title",
        "- ",
        "  ",
        "    ",
        "\t",
        "1. ",
        "> ",
        "\n",
        "\n\n",
        " ",
        "\r\n",
        "word",
        "A sentence. ",
        "`code`",
        "**b**",
        "<b>",
        "[x](y)",
        "@everyone",
        "。",
        "日本語",
        "שלום",
        "\u200b",
        "👩\u200d👩\u200d👧",
        "🇩🇪🇫🇷",
        "é",
        "�",
        "�",
        "\x00",
        "\u2028",
        "\xa0",
        "각",
    ]
).map(lambda piece: piece * 12 if piece == "word" else piece)
MARKDOWN = st.one_of(st.lists(PIECES, max_size=80).map("".join), st.text(st.characters(), max_size=400))


@given(MARKDOWN, LIMITS, st.sampled_from([len, utf16_length]))
def test_every_part_fits_and_none_is_blank(text, limit, length):
    for part in split(text, limit, length):
        assert length(part) <= limit
        assert part.strip()


@given(MARKDOWN, LIMITS)
@settings(max_examples=300)
def test_what_lies_between_the_pieces_is_white_space_or_a_closing_fence(text, limit):
    at, tail = 0, ""
    for piece in pieces(text, limit, utf16_length):
        gap = text[at : piece.start]
        assert not gap.strip() or (tail and FENCE_LINE.fullmatch(gap))
        shown = piece.render(text)[len(piece.head) :].removesuffix(piece.tail)
        assert shown.split() == text[piece.start : piece.end].split()
        assert at <= piece.start < piece.end
        at, tail = piece.end, piece.tail
    assert not text[at:].strip() or FENCE_LINE.fullmatch(text[at:])


@given(st.text(st.characters(exclude_characters="`~"), max_size=500), LIMITS)
def test_without_fences_the_parts_are_the_text_but_for_white_space(text, limit):
    assert "".join("".join(split(text, limit)).split()) == "".join(text.split())


def block(draw, depth=0):
    words = st.lists(
        st.sampled_from(["one", "two.", "`three`", "fünf", "😀", "y" * 30]), min_size=1, max_size=12
    )
    kind = draw(st.sampled_from(["paragraph", "fence", "list"] if depth < 2 else ["paragraph", "fence"]))
    if kind == "paragraph":
        return " ".join(draw(words))
    if kind == "fence":
        mark = draw(st.sampled_from(["```", "~~~", "````", "~~~~~"]))
        other = "~~~" if mark[0] == "`" else "```"
        lines = st.sampled_from(
            ["x = 1", "    y = 2", "", other, mark[:2], "long " * 14, f"say {mark}", "z" * 90]
        )
        code = draw(st.lists(lines, min_size=1, max_size=12).filter("".join))
        return "\n".join([mark + draw(st.sampled_from(["", "py", " rust,ignore"])), *code, mark])
    marker = draw(st.sampled_from(["- ", "1. ", "10. "]))
    inside = "\n\n".join(block(draw, depth + 1) for _ in range(draw(st.integers(1, 3))))
    return marker + inside.replace("\n", "\n" + " " * len(marker))


@st.composite
def documents(draw):
    return "\n\n".join(block(draw) for _ in range(draw(st.integers(1, 5))))


def code_and_prose(parts):
    code, prose, infos = "", "", []
    for part in parts:
        for token in MarkdownIt().parse(part):
            if token.type == "fence":
                code += token.content
                infos.append((token.markup, token.info.strip()))
            else:
                assert token.type != "code_block", part
                prose += token.content
    return (
        "".join(code.split()),
        "".join(prose.split()),
        [i for n, i in enumerate(infos) if i not in infos[:n]],
    )


@given(documents(), st.integers(100, 400))
@settings(max_examples=400, deadline=None)
def test_a_markdown_parser_sees_the_same_code_and_the_same_prose_in_the_parts(text, limit):
    """An independent reader of CommonMark is the judge: no code turns into prose, nor the other way round."""
    code, prose, infos = code_and_prose([text])
    assert code_and_prose(split(text, limit, utf16_length)) == (code, prose, infos)


@given(documents(), documents(), LIMITS)
def test_growing_a_text_leaves_all_parts_but_the_last_as_they_are(text, more, limit):
    before, after = split(text, limit), split(f"{text}\n\n{more}", limit)
    assert after[: len(before) - 1] == before[:-1]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" \n\t\n\u2003", []),
        ("  short\n", ["  short"]),
        ("a" * 30 + "\n\n" + "b" * 30, ["a" * 30, "b" * 30]),
        ("a" * 30 + "\n" + "b" * 30, ["a" * 30, "b" * 30]),
        ("First one here. Second is here. " + "w" * 30, ["First one here. Second is here.", "w" * 30]),
        ("some words " * 6, ["some words some words some words some words some", "words some words"]),
        ("z" * 60, ["z" * 50, "z" * 10]),
        ("z" * 49 + "👍🏽", ["z" * 49, "👍🏽"]),
        ("z" * 49 + "e\u0301", ["z" * 49, "e\u0301"]),
        ("🇩🇪" * 30, ["🇩🇪" * 25, "🇩🇪" * 5]),
        ("z" * 49 + "\ud83d\ude00", ["z" * 49, "\ud83d\ude00"]),
    ],
)
def test_cuts_fall_at_the_largest_unit_that_fits(text, parts):
    assert split(text, 50) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Intro:\n\n```py\n" + "x = 11\n" * 5 + "```", ["Intro:", "```py\n" + "x = 11\n" * 5 + "```"]),
        (
            "```py\n" + "y = 1\n" * 8 + "```",
            ["```py\n" + "y = 1\n" * 6 + "```", "```py\n" + "y = 1\n" * 2 + "```"],
        ),
        (
            "~~~\n```\n" + "y" * 60,
            ["~~~\n```\n~~~", "~~~\n" + "y" * 42 + "\n~~~", "~~~\n" + "y" * 18 + "\n~~~"],
        ),
        ("````\n```\n```\n````", ["````\n```\n```\n````"]),
        ("```py\nprint(", ["```py\nprint(\n```"]),
        ("```" + "i" * 60 + "\ncode", ["```" + "i" * 43 + "\n```", "```\n" + "i" * 17 + "\ncode\n```"]),
        ("``` not `a` fence\n" + "w " * 20, ["``` not `a` fence", "w " * 19 + "w"]),
        (
            "1. Do\n   ```sh\n" + "   go\n" * 7 + "   ```",
            ["1. Do", "```sh\n" + "go\n" * 5 + "```", "```sh\ngo\ngo\n```"],
        ),
    ],
)
def test_fences_are_closed_and_opened_again(text, parts):
    assert split(text, 50) == parts


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "😀" * 100_000,
        "e" + "\u0301" * 100_000,
        "word another thing. " * 5_000,
        "a\n" * 50_000,
        "\n" * 99_999 + "x",
        "- a" + "\n" * 99_990 + "  b",
        "- a\n" * 25_000,
        "- " * 50_000,
        "```\n" * 25_000,
        "```py\n" + "code\n" * 20_000,
        "`" * 100_000,
        "." * 100_000,
        ".)" * 50_000,
        "```\na" + " " * 99_990 + "b",
        "- ```\n" + (" " * 999 + "\n") * 100,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_100_000_characters_are_cut_in_linear_time(text):
    """A generous bound, for busy machines: what is not linear takes minutes here."""
    began = time.process_time()
    parts = split(text, 4096, utf16_length)
    assert time.process_time() - began < 0.5
    assert all(utf16_length(part) <= 4096 for part in parts)


def test_a_limit_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        split("text", 15, len)


@given(st.text(st.characters()))
@example("a😀\ud83d")
def test_utf16_length_counts_code_units(text):
    assert utf16_length(text) == sum(2 if char > "\uffff" else 1 for char in text)


LONG = "```python\n" + "print('x')\n" * 60 + "```"


def test_around_code_a_long_block_is_a_part_of_its_own_and_whole() -> None:
    text = f"Before.\n\n{LONG}\n\nBetween.\n\n```\nshort\n```\n\n~~~\n{'y' * 600}\n~~~\n\n{'after ' * 90}"
    parts = split_around_code(text, 500)
    assert parts[:2] == ["Before.", LONG]
    assert parts[2] == "Between.\n\n```\nshort\n```"
    assert parts[3] == f"~~~\n{'y' * 600}\n~~~"
    assert all(len(part) <= 500 for part in parts[4:])


@pytest.mark.parametrize(
    "text", [f"- item\n\n  {LONG.replace(chr(10), chr(10) + '  ')}", LONG[:-3], "```\nshort\n```", ""]
)
def test_around_code_everything_else_is_split_as_ever(text: str) -> None:
    assert split_around_code(text, 500) == split(text, 500)
