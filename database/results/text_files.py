"""Files of the results text database: logical lines `tag : value`, and errors that name file and line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from database.errors import ResultsFormatError
from database.results.literals import LiteralError, Value, parse_literal

_JOINS_WITH_PREVIOUS: Final = (" ", "\t", "}")
_COMMENT: Final = re.compile(r"(?<!\\)#")
_DISABLED_TAG: Final = re.compile(r"#+\s*[A-Za-z_]\w*\s*:")


class LogicalLine(NamedTuple):
    """One `tag : value` of a file.

    Attributes:
        tag: left of the first colon.
        value: right of it, continuation lines joined.
        starts: offset in `value` where each physical line begins.
        line: number of the first physical line, from 1.
    """

    tag: str
    value: str
    starts: tuple[int, ...]
    line: int

    def line_of(self, offset: int) -> int:
        """Returns the physical line of a position in the value; the last one for a negative offset."""
        if offset < 0:
            return self.line + len(self.starts) - 1
        return self.line + max(0, sum(start <= offset for start in self.starts) - 1)


class TextFile:
    """One file of the database, with errors that name it.

    Args:
        path: the file.
        root: folder that error messages leave away.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.name = os.path.relpath(path, root)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ResultsFormatError(f"{self.name} cannot be read: {error.strerror}.") from None
        try:
            self.text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ResultsFormatError(f"{self.name}, line {line}: not a text file (UTF-8).") from None

    def error(self, line: int, problem: str) -> ResultsFormatError:
        """Returns the error that says what is wrong where."""
        return ResultsFormatError(f"{self.name}, line {line}: {problem}.")

    def lines(self) -> Iterator[LogicalLine]:
        """Yields the file's logical lines.

        What follows a `#` (not `\\#`) is a comment. A physical line is joined to the one before it if it starts with a blank,
        a tab or `}`, or if the one before ends in `,` or in a backslash (which is removed).
        """
        numbers, physical = _without_comments(self.text.splitlines()) if "#" in self.text else (None, self.text.splitlines())
        parts: list[str] = []
        starts: list[int] = []
        length, first, is_open = 0, 1, False
        for index, raw in enumerate(physical, start=1):
            line = raw.strip()
            number = index if numbers is None else numbers[index - 1]
            if not parts:
                first = number
            if line or parts:
                starts.extend([length] * (number - first + 1 - len(starts)))
                continues = line.endswith("\\")
                parts.append(line[:-1] if continues else line)
                length += len(parts[-1])
            else:
                continue
            is_open = line.endswith((",", "\\")) or (is_open and not line)
            if index < len(physical) and (is_open or physical[index].startswith(_JOINS_WITH_PREVIOUS)):
                continue
            logical = self._split("".join(parts), starts, first)
            parts, starts, length = [], [], 0
            if logical is not None:
                yield logical

    def _split(self, text: str, starts: list[int], first: int) -> LogicalLine | None:
        if not text:
            return None
        tag, colon, value = text.partition(":")
        if not colon:
            raise self.error(first, f"expected 'tag: value', found {text[:40]!r}")
        shift = len(text) - len(value.lstrip()) if value.strip() else len(tag) + 1
        return LogicalLine(tag.strip(), value.strip(), tuple(start - shift for start in starts), first)


def _without_comments(physical: Sequence[str]) -> tuple[list[int], list[str]]:
    """Numbers and texts of the lines without comments; lines that hold nothing else are left out.

    With a tag that is commented out go the continuation lines that close its brackets.
    """
    numbers: list[int] = []
    kept: list[str] = []
    depth, is_open = 0, False
    for number, raw in enumerate(physical, start=1):
        if depth > 0 and (is_open or raw.startswith((*_JOINS_WITH_PREVIOUS, "]", ")"))):
            depth += _balance(raw)
            is_open = raw.rstrip().endswith((",", "\\"))
            continue
        depth = 0
        mark = _COMMENT.search(raw)
        if mark is None:
            numbers.append(number)
            kept.append(raw)
            continue
        text = raw[: mark.start()].rstrip()
        if text:
            numbers.append(number)
            kept.append(text)
        elif _DISABLED_TAG.match(raw):
            depth, is_open = _balance(raw), raw.rstrip().endswith((",", "\\"))
    return numbers, [line.replace("\\#", "#") for line in kept]


def _balance(text: str) -> int:
    """Opening minus closing brackets."""
    return sum(text.count(mark) for mark in "([{") - sum(text.count(mark) for mark in ")]}")


def read_tags(file: TextFile) -> tuple[dict[str, Value], dict[str, int]]:
    """Returns the values and lines of a globalInfo or dataInfo file.

    A tag that appears more than once is ignored altogether; what is not a literal stays a text.
    """
    values: dict[str, Value] = {}
    lines: dict[str, int] = {}
    repeated: set[str] = set()
    for logical in file.lines():
        if logical.tag in lines:
            repeated.add(logical.tag)
        lines[logical.tag] = logical.line
        values[logical.tag] = value_of(logical)
    return {tag: value for tag, value in values.items() if tag not in repeated}, lines


def value_of(logical: LogicalLine) -> Value:
    """Returns the value of a logical line; what is not a literal stays a text."""
    if logical.tag == "lastUpdate":
        return logical.value
    try:
        return parse_literal(logical.value)
    except LiteralError:
        return logical.value
