"""`${NAME}`, `${NAME:-default}` and `file:PATH`: what a value in the file stands for.

Goes through a document along the schema, because only a secret may come from a file, and because a null is an
empty section in one place and a value left out in another. Unknown keys come to light here as well.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import SecretStr

from config.document import BROKEN, Document, Value
from config.keys import below, is_section, meant_by, null_is_a_value
from config.problems import Key, printable, shown
from config.schema import Config

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{")
_WITHOUT_BRACES = re.compile(r"\$([A-Z_][A-Z0-9_]*)")
_MOST = 1_000_000  # bytes; it is read again at every reload, while people wait for their answers


class Unreadable(Exception):
    """A file has no text to give: what is wrong with it and what to do, in parts of a sentence."""

    def __init__(self, what: str, instead: str, *, missing: bool = False) -> None:
        super().__init__(f"{what}; {instead}")
        self.what = what
        self.instead = instead
        self.missing = missing


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark. Raises Unreadable.

    What is no ordinary file is not opened: whoever reads a pipe without a writer waits for ever, and /dev/zero has no end.
    """
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise Unreadable("this is no ordinary file", "name one that can be read again and again")
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
        if len(content) > _MOST:
            raise Unreadable(f"the file is larger than {_MOST:,} bytes", "check the path")
        return content.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise Unreadable("there is no such file", "check the path", missing=True) from None
    except IsADirectoryError:
        raise Unreadable("this is a directory", "name a file in it") from None
    except PermissionError:
        raise Unreadable("this account may not read the file", "change its owner or its mode") from None
    except UnicodeDecodeError:
        raise Unreadable("the file is not UTF-8 text", "save it as UTF-8") from None
    except (OSError, ValueError):  # a name that is too long or holds a NUL, a disk that fails
        raise Unreadable("the file can not be read", "check the path") from None


NOT_LOOKED_AT = "not-looked-at"
"""Stands for every secret where none is needed."""


def resolve(document: Document, environ: Mapping[str, str], folder: Path, *, secrets: bool = True) -> None:
    """Put in place of every reference in `document.values` what it stands for. Paths are relative to `folder`.

    What can not be replaced is reported and becomes BROKEN; so does the key that a misspelt one was meant to be.
    A null, or a reference that gives nothing, leaves the key out; a section that is null becomes an empty one. Without
    `secrets` they are neither looked up nor missed: each is NOT_LOOKED_AT.
    """
    document.values = _Resolver(document, environ, folder, secrets).section(document.values, Config, ())


class _Resolver:
    def __init__(self, document: Document, environ: Mapping[str, str], folder: Path, secrets: bool) -> None:
        self._secrets = secrets
        self._document = document
        self._environ = environ
        self._folder = folder

    def section(self, values: dict[str, Value], annotation: Any, key: Key) -> dict[str, Value]:
        resolved: dict[str, Value] = {}
        for name, value in values.items():
            kind = below(annotation, name)
            if kind is None:  # what it holds is not looked at: one mistake, one message
                meant, hint = meant_by((*key, name))
                self._document.report((*key, name), "there is no such key", hint)
                if meant and meant not in values:
                    resolved[meant] = BROKEN
            elif (result := self._value(value, kind, (*key, name))) is not None:
                resolved[name] = result
            elif value is None and null_is_a_value(annotation, name):
                resolved[name] = None
        return resolved

    def _value(self, value: Value, annotation: Any, key: Key) -> Value:
        if is_section(annotation) or get_origin(annotation) is dict:
            if isinstance(value, dict | None):
                return self.section(value or {}, annotation, key)
        elif isinstance(value, list):
            return [
                self._value(item, below(annotation, index), (*key, index)) for index, item in enumerate(value)
            ]
        if isinstance(value, str):
            return self._text(value, key, secret=annotation is SecretStr)
        return value

    def _text(self, written: str, key: Key, *, secret: bool) -> Value:
        if secret and not self._secrets:
            return NOT_LOOKED_AT
        text = self._expanded(written, key, secret=secret)
        if text is None:
            return BROKEN
        if text != written:
            self._document.written[key] = written
            if not text:
                return None
        return self._secret(text, key) if secret else text

    def _expanded(self, written: str, key: Key, *, secret: bool) -> str | None:
        """The text with its references replaced; None if one can not be, which is then reported."""
        failed = False

        def replace(match: re.Match[str]) -> str:
            nonlocal failed
            variable, default = match["name"], match["default"]
            if match[0] == "$${":
                return "${"
            if variable is None:
                failed = True
                what = "`${` does not begin ${NAME} or ${NAME:-default}"
                self._document.report(key, what, "mend it, or write $${ for the two characters themselves")
                return ""
            value = self._environ.get(variable)
            if default is not None:
                return value or default.removeprefix(":-")
            if value is None or (secret and not value):
                failed = True
                self._variable_missing(
                    key, printable(variable), "empty" if value == "" else "not set", secret
                )
            return value or ""

        text = _REFERENCE.sub(replace, written)
        return None if failed else text

    def _variable_missing(self, key: Key, variable: str, state: str, secret: bool) -> None:
        other = "file:PATH to read a file" if secret else f"${{{variable}:-default}}"
        hint = f"set it before you start Boswell (export {variable}=…), or write {other}"
        self._document.report(key, f"the environment variable {variable} is {state}", hint)

    def _secret(self, text: str, key: Key) -> Value:
        """The secret itself, out of its file if need be. Nothing of it is ever told."""
        if key not in self._document.written and (bare := _WITHOUT_BRACES.fullmatch(text)):
            name = printable(bare[1])
            return self._document.report(key, "a variable is written with braces", f"write ${{{name}}}")
        if text.startswith("file:"):
            path = self._document.written.setdefault(key, text).removeprefix("file:")
            try:
                text = read_text(self._folder / text.removeprefix("file:")).rstrip("\r\n")
            except Unreadable as exc:
                hint = f"{exc.instead} (relative paths begin at the configuration file)"
                return self._document.report(key, f"{shown(path)}: {exc.what}", hint)
        origin = self._document.quoted(key, None)
        if not text:
            return self._document.report(key, f"{origin} is empty", "put the secret there")
        if " " in text or not (text.isascii() and text.isprintable()):
            what = f"{origin} holds a space, a line break or a character that no secret has"
            return self._document.report(key, what, "paste it again, whole and alone")
        return text
