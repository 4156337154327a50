"""Read CSV and TSV files so that no row is lost and no quote is guessed.

In a CSV file, and in a TSV file whose quotes all follow the same rules, a field that begins with a
quote ends with one, and a quote inside it is doubled (RFC 4180). In every other TSV file quotes are
plain characters and each line is a row. What fits neither is refused, by line.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from mmts.errors import InputError
from mmts.sources.names import shown

DOUBLED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
"""A quoted field with a quote in it: what only a writer that follows the rules writes."""
Quoting = Literal[0, 3]
PLAIN: Quoting = csv.QUOTE_NONE
QUOTED: Quoting = csv.QUOTE_MINIMAL
UNENDED = "unexpected end of data"  # as the csv module says it
ELSE = "or save the table as .parquet or .jsonl"


class Row(NamedTuple):
    """The fields of one row, the text that they were read from, and the line that it begins on."""

    line: int
    fields: list[str]
    text: list[str]


class _LineError(Exception):
    """What is wrong on which line, and the remedy."""

    def __init__(self, line: int, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.line, self.problem, self.remedy = line, problem, remedy


def read_csv(path: Path, separator: str) -> pd.DataFrame:
    """Read a UTF-8 table of text; the index of a row is the line that it begins on.

    Args:
        path: of the file; its first line names the columns.
        separator: a comma, or a tab.

    Raises:
        InputError: the file is not UTF-8 or has no header, a column is named twice, a row has more
            or fewer fields than the header, or quotes do not follow the rules.
    """
    csv.field_size_limit(sys.maxsize)
    try:
        quoting, note = _quoting(path) if separator == "\t" else (QUOTED, "")
        found = list(_checked(_read(path, separator, quoting), separator, note))
    except _LineError as error:
        raise InputError(f"{path} line {error.line} {error.problem}; {error.remedy}") from None
    except UnicodeDecodeError:
        raise not_utf_8(path) from None
    if not found:
        raise InputError(f"{path} is empty; its first line must name the columns")
    header = found[0][1]
    check_columns_once(header, path)
    lines = pd.Index([line for line, _ in found[1:]], dtype="int64")
    return pd.DataFrame([fields for _, fields in found[1:]], lines, header, dtype="str")


def not_utf_8(path: Path) -> InputError:
    """The error of a text file that is not UTF-8, with the place of the first wrong byte."""
    try:
        path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8")
    raise AssertionError(f"{path} is UTF-8")


def check_columns_once(names: list[str], path: Path) -> None:
    """InputError naming the first column that stands twice; nameless ones may."""
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise InputError(
            f"{path} has the column {shown(twice[0])} {names.count(twice[0])} times; rename all "
            "but one"
        )


def _read(path: Path, separator: str, quoting: Quoting) -> Iterator[Row]:
    """The rows that are not blank, the header first; `text` holds until the next one."""
    text: list[str] = []

    def lines() -> Iterator[str]:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for line in file:
                text.append(line)
                yield line

    reader = csv.reader(lines(), delimiter=separator, quoting=quoting, strict=True)
    begins, width = 1, 0
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _misquoted(begins, reader.line_num, str(error), "".join(text)) from None
        if fields is None:
            return
        if len(fields) > 1 or (fields and (width == 1 or fields[0].strip())):
            width = width or len(fields)
            yield Row(begins, fields, text)
        begins = reader.line_num + 1
        text.clear()


def _checked(rows: Iterator[Row], separator: str, note: str) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each row; all have as many fields as the header."""
    width = 0
    for line, fields, text in rows:
        width = width or len(fields)
        if len(text) > 1:
            _check_lines(line, fields, text, width, separator)
        if len(fields) != width:
            raise _LineError(
                line,
                f"has {len(fields)} field{'s' * (len(fields) != 1)}, the header has {width}{note}",
                "mend that line: a field that holds the separator or a line break must be in "
                "double quotes",
            )
        if separator == ",":
            for field in _bare(fields, text):
                if field.lstrip().startswith('"'):
                    raise _LineError(
                        line, f"has blanks before the quote of {shown(field)}", "remove the blanks"
                    )
        yield line, fields


def _check_lines(line: int, fields: list[str], text: list[str], width: int, by: str) -> None:
    """Refuse a row of several lines of which one may be a row that a stray quote has swallowed."""
    rows = [n for n, part in enumerate(text) if n and part.count(by) >= width - 1]
    if rows and by.join(_in_quotes(f) for f in fields) != "".join(text).rstrip("\r\n"):
        raise _LineError(
            line,
            f"begins a field in quotes that goes on to line {line + len(text) - 1}, and line "
            f"{line + rows[0]} could be a row of its own",
            'write "" for a quote that is a character; where the field has several lines, put all '
            f"fields of the table in quotes, {ELSE}",
        )


def _in_quotes(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


def _bare(fields: list[str], text: list[str]) -> list[str]:
    """The fields that hold a quote without being in quotes."""
    return [field for field in fields if '"' in field and _in_quotes(field) not in "".join(text)]


def _misquoted(begins: int, line: int, problem: str, text: str) -> _LineError:
    """The error of a row whose quotes do not follow the rules."""
    if problem == UNENDED:
        problem = "begins a field in quotes that does not end"
    else:
        where = "" if begins == line else f" in line {line}"
        problem = f"has a field in quotes with text behind its closing quote{where}"
    escape = ', not \\"' if '\\"' in text else ""
    remedy = f'write "" for each quote inside a field in quotes{escape}, {ELSE}'
    return _LineError(begins, problem, remedy)


def _quoting(path: Path) -> tuple[Quoting, str]:
    """Whether the quotes of a TSV file have a meaning; where not, what an error says of it."""
    line, problem = 0, "has a quote in a field that is not in quotes"
    remedy = f"put fields with quotes in quotes, {ELSE}"
    try:
        for row in _read(path, "\t", QUOTED):
            if _bare(row.fields, row.text):
                line = row.line
                break
    except _LineError as error:
        line, problem = error.line, error.problem
        remedy = error.remedy
    if not line:
        return QUOTED, ""
    for row in _read(path, "\t", PLAIN):
        for field in row.fields:
            if DOUBLED.fullmatch(field):
                raise _LineError(
                    line,
                    f"{problem}, while line {row.line} doubles the quotes in {shown(field, 40)}",
                    remedy,
                )
    return PLAIN, f" (quotes are plain characters in this file: line {line} {problem})"
