"""YAML as an operator wrote it: every value as its own text, with the line of every key.

PyYAML only composes here, it constructs nothing. YAML would make `no` a boolean, `2024-10-21` a date and `007`
a number; the schema knows what each key wants, so a value stays the text in the file until pydantic reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

import yaml

from config.problems import ConfigError, Key, Problem, dotted, shown


class Broken(Enum):
    """Stands for a value whose mistake is reported already: nothing more is said about it."""

    BROKEN = "broken"


BROKEN: Final = Broken.BROKEN

Value: TypeAlias = "str | Broken | list[Value] | dict[str, Value] | None"

_MAX_DEPTH = 20  # the schema needs 4
_MAX_VALUES = 20_000  # a few aliases of aliases can stand for billions
_YAML = "tag:yaml.org,2002:"
_NULL = f"{_YAML}null"
_SCALARS = frozenset(
    _YAML + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)


@dataclass(slots=True)
class Document:
    """One file's values, the lines of its keys and the problems found so far.

    `written` holds what stands in the file for values that were replaced by what they refer to.
    """

    file: str
    values: dict[str, Value] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def report(self, key: Key, what: str, instead: str = "", *, line: int | None = None) -> Broken:
        """Note a problem at the line of `key` or, if it is not there, of its section. Returns its stand-in."""
        parents = (key[:end] for end in range(len(key), 0, -1))
        line = line or next((self.lines[parent] for parent in parents if parent in self.lines), None)
        self.problems.append(Problem(self.file, line, dotted(key), what, instead))
        return BROKEN

    def quoted(self, key: Key, value: Value) -> str:
        """How a message names the value at `key`. What a reference gives is never shown: it may be a secret."""
        written = self.written.get(key)
        return shown(value) if written is None else f"what {shown(written)} gives"


def parse(text: str, file: str) -> Document:
    """Read a document. Duplicate keys and the like are noted in it; raises ConfigError for what is no YAML."""
    document = Document(file)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        problem = _syntax(exc, text, file)
        raise ConfigError([problem]) from None  # PyYAML's own words may quote a secret
    except RecursionError:
        raise ConfigError([Problem(file, None, "", "it is nested too deeply to be read")]) from None
    except (ValueError, OverflowError):  # PyYAML lets "\UFFFFFFFF" through to chr()
        what, instead = "a quoted value holds an escape that is no character", r"write \\ for a backslash"
        raise ConfigError([Problem(file, None, "", what, instead)]) from None
    if root is None or root.tag == _NULL:
        return document
    values = _Reader(document).value(root, ())
    if isinstance(values, dict):
        document.values = values
    elif not document.problems:
        document.report(
            (), "the file must hold keys such as `agent:`", "`boswell init` writes one to start from"
        )
    return document


class _Reader:
    """Walks the nodes of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def value(self, node: yaml.Node, key: Key) -> Value:
        line = self._document.lines.setdefault(key, node.start_mark.line + 1)
        self._count += 1
        if len(key) > _MAX_DEPTH or self._count > _MAX_VALUES:
            what = "there is far more in here, or in its aliases, than a configuration needs"
            raise ConfigError([Problem(self._document.file, line, "", what)])
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_YAML}map":
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_YAML}seq":
            return [self.value(item, (*key, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return None if node.tag == _NULL else str(node.value)
        return self._document.report(key, _TAG, _QUOTE)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                what = "a list or braces stand where a key should"
                self._document.report(key, what, "quote a value that begins with { or [", line=line)
                continue
            name = str(name_node.value)
            where = (*key, name)
            if name in values:
                what = f"the key is here twice, first on line {self._document.lines[where]}"
                self._document.report(where, what, "keep one of the two", line=line)
                continue
            self._document.lines[where] = line
            values[name] = self.value(value_node, where)
        return values


_QUOTE = "put the value in quotes"
_TAG = "a value begins with `!`, which YAML takes for a tag"


@dataclass(frozen=True, slots=True)
class _Syntax:
    """What a syntax error that PyYAML tells in `words` means here. `opened`: it is told where the thing began."""

    words: str
    what: str
    instead: str
    opened: bool = False


_SYNTAX = (  # the first that fits
    _Syntax(r"character '\t' that cannot", "a tab stands at the beginning of a line or value", "use spaces"),
    _Syntax(
        "that cannot start any token", "a value begins with a character that YAML keeps for itself", _QUOTE
    ),
    _Syntax(
        "values are not allowed here",
        "there is a `: ` where no key can be",
        "look for a missing colon or a wrong indent above, or quote a value that holds `: `",
    ),
    _Syntax(
        "entries are not allowed here", "no list item `- ` can stand here", "put it on a line of its own"
    ),
    _Syntax(
        "could not find expected ':'",
        "this is neither `key: value` nor part of a value",
        "put a colon and a space after the key",
        opened=True,
    ),
    _Syntax(
        "quoted scalar: found unexpected",
        "a quote is opened here and never closed",
        "close it, or put a value that holds this kind of quote in quotes of the other kind",
        opened=True,
    ),
    _Syntax(
        "scalar: found unknown escape",
        "a quoted value holds a backslash that YAML takes for an escape",
        "use single quotes, or write the backslash twice",
        opened=True,
    ),
    _Syntax(
        "',' or ']'",
        "a `[` is opened here and not closed",
        "close it, with commas between the items, and put ${NAME} in quotes there",
        opened=True,
    ),
    _Syntax(
        "',' or '}'",
        "a `{` is opened here and not closed",
        "close it, with commas between the items, and put ${NAME} in quotes there",
        opened=True,
    ),
    _Syntax(
        "expected <block end>",
        "the line does not fit those above it",
        "indent it exactly like its neighbours, and look for a stray quote or bracket",
    ),
    _Syntax("alias", "a value begins with `*`, which YAML takes for an alias", _QUOTE),
    _Syntax("anchor", "a value begins with `&`, which YAML takes for an anchor", _QUOTE),
    _Syntax("tag", _TAG, _QUOTE),
    _Syntax("directive", "a line begins with `%`, which YAML takes for a directive", "remove the line"),
    _Syntax("single document", "a second document begins here", "remove the line `---`"),
    _Syntax(
        "special characters", "there is a control character in this line", "delete it and type the line anew"
    ),
    _Syntax(
        "", "this is not valid YAML", "look at this line and the one above: quotes, brackets, indentation"
    ),
)


def _syntax(exc: yaml.YAMLError, text: str, file: str) -> Problem:
    """The problem in our words. PyYAML's own stay out of it: they quote the file, secrets included."""
    if isinstance(exc, yaml.MarkedYAMLError):
        said = f"{exc.context}: {exc.problem}"
        found = next(one for one in _SYNTAX if one.words in said)
        mark = exc.context_mark if found.opened and exc.context_mark else exc.problem_mark
        line = mark.line + 1 if mark else None
    else:
        found = next(one for one in _SYNTAX if one.words in str(getattr(exc, "reason", "")))
        line = text.count("\n", 0, getattr(exc, "position", 0)) + 1
    return Problem(file, line, "", found.what, found.instead)
