"""The official retrieval files of EPIC-KITCHENS-100 (Damen et al. 2022), read and checked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from mmts.errors import InputError
from mmts.files import require
from mmts.sources.delimited import read_csv
from mmts.sources.names import shown

VERBS, NOUNS = 97, 300
TRAIN_ROWS, TEST_CLIPS, TEST_SENTENCES = 67_217, 9_668, 3_842
TRAIN = "EPIC_100_retrieval_train.csv"
PARTIAL = "EPIC_100_retrieval_train.partial.csv"
TEST = "EPIC_100_retrieval_test.csv"
SENTENCES = "EPIC_100_retrieval_test_sentence.csv"
TRAIN_SENTENCES = "EPIC_100_retrieval_train_sentence.csv"
TAIL = {"verb": "EPIC_100_tail_verbs.csv", "noun": "EPIC_100_tail_nouns.csv"}
REMEDY = (
    "take the file from retrieval_annotations/ of "
    "github.com/epic-kitchens/epic-kitchens-100-annotations"
)
COLUMNS = (
    "narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "narration",
    "verb_class", "noun_class", "all_noun_classes",
)  # fmt: skip
TIMESTAMP = re.compile(r"([0-9]{1,3}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]{1,9})?)")
WHOLE_NUMBERS = re.compile(r"\[ *[0-9]{1,4}(?: *, *[0-9]{1,4})* *\]")
NAME = re.compile(r"[A-Za-z0-9_]+")  # ids become parts of paths

T = TypeVar("T")


class OfficialTest(NamedTuple):
    """The test split, in the files' order: the rows and columns of a matrix of scores.

    clips: narration_id, participant_id, video_id, start, stop (seconds), narration, verb_class,
        noun_class, noun_classes (a tuple).
    sentences: narration_id, narration, verb_class, noun_classes. The classes are those of the clip
        with the same narration_id: the official relevancy is made so, although six sentences of
        the official file have another narration than that clip.
    """

    clips: pd.DataFrame
    sentences: pd.DataFrame


def read_test(folder: Path) -> OfficialTest:
    """The test clips and test sentences; other numbers of them than official are a warning.

    Raises:
        InputError: a file or column is missing, or a value is not what it must be (see
            `read_clips`), or a sentence belongs to no test clip.
    """
    clips = read_clips(folder / TEST)
    _compare(folder / TEST, "clips", len(clips), TEST_CLIPS)
    path = folder / SENTENCES
    table = _read(path, ("narration_id", "narration"))
    ids = _ids(table, path)
    row_of = {name: row for row, name in enumerate(clips["narration_id"])}
    for row, name in enumerate(ids):
        if name not in row_of:
            problem = f"narration_id {name!r} is no clip of {TEST}"
            raise _wrong(path, table.index[row], problem, "take both anew")
    _compare(path, "sentences", len(ids), TEST_SENTENCES)
    classes = clips.iloc[[row_of[name] for name in ids]].reset_index(drop=True)
    return OfficialTest(
        clips,
        pd.DataFrame(
            {
                "narration_id": ids,
                "narration": table["narration"].to_numpy(),
                "verb_class": classes["verb_class"],
                "noun_classes": classes["noun_classes"],
            }
        ),
    )


def read_train(folder: Path) -> pd.DataFrame:
    """The training clips, with the columns of the test clips; a part of the file is a warning.

    Raises:
        InputError: as for `read_test`.
    """
    path = folder / TRAIN
    if not path.exists() and (folder / PARTIAL).exists():
        path = folder / PARTIAL
    clips = read_clips(path)
    lacking = TRAIN_ROWS - len(clips)
    if lacking > 0:
        warnings.warn(
            f"{path} has {len(clips):,} clips of the official file's {TRAIN_ROWS:,}: {lacking:,} "
            "are missing, so cluster sizes and results are those of a part of the data",
            stacklevel=1,
        )
    else:
        _compare(path, "clips", len(clips), TRAIN_ROWS)
    return clips


def read_train_sentences(folder: Path) -> frozenset[str]:
    """narration_id of the official training sentences; none, and a warning, without the file.

    Raises:
        InputError: as for `read_test`, but ids without a clip are fine: the clips may be a part.
    """
    path = folder / TRAIN_SENTENCES
    if not path.exists():
        warnings.warn(
            f"{path} is not there: the first clip of each narration stands for its sentence",
            stacklevel=1,
        )
        return frozenset()
    return frozenset(_ids(_read(path, ("narration_id",)), path))


def read_tail(folder: Path) -> dict[str, frozenset[int]]:
    """The official tail classes, by `verb` and `noun`; only those whose file is there.

    Raises:
        InputError: a value is no class.
    """
    found = {}
    for what, name in TAIL.items():
        path = folder / name
        if path.exists():
            top = VERBS if what == "verb" else NOUNS
            parse = _verb if what == "verb" else _noun
            values = _column(_read(path, (what,)), path, what, parse, f"0..{top - 1}")
            found[what] = frozenset(values)
    return found


def read_clips(path: Path) -> pd.DataFrame:
    """The clips of one official file, checked row by row.

    Raises:
        InputError: a missing column, an id that is empty or stands twice, a timestamp that is none,
            a stop that is not after its start, a class out of range, or a list of nouns that is
            not one of whole numbers.
    """
    table = _read(path, COLUMNS)
    ids = _ids(table, path)
    name = "a name of letters, digits and _"
    found = pd.DataFrame(
        {
            "narration_id": ids,
            "participant_id": _column(table, path, "participant_id", _name, name),
            "video_id": _column(table, path, "video_id", _name, name),
            "start": _column(table, path, "start_timestamp", _seconds, "HH:MM:SS.ss"),
            "stop": _column(table, path, "stop_timestamp", _seconds, "HH:MM:SS.ss"),
            "narration": table["narration"].to_numpy(),
            "verb_class": _column(table, path, "verb_class", _verb, f"0..{VERBS - 1}"),
            "noun_class": _column(table, path, "noun_class", _noun, f"0..{NOUNS - 1}"),
        }
    )
    nouns = _column(
        table, path, "all_noun_classes", _nouns,
        f"a list of whole numbers 0..{NOUNS - 1} such as [2, 14]",
    )  # fmt: skip
    found["noun_classes"] = pd.Series(nouns, index=found.index, dtype=object)
    backwards = (found["stop"] <= found["start"]).to_numpy()
    if backwards.any():
        row = int(backwards.argmax())
        start, stop = table["start_timestamp"].iloc[row], table["stop_timestamp"].iloc[row]
        problem = f"stop_timestamp {stop} is not after start_timestamp {start}"
        raise _wrong(path, table.index[row], problem)
    return found


# --- a table and its columns -------------------------------------------------------------------


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = read_csv(require(path, REMEDY), ",")
    for column in columns:
        if column not in table:
            there = ", ".join(map(shown, table.columns))
            raise InputError(f"{path} has no column {column!r}; it has {there}: {REMEDY}")
    if table.empty:
        raise InputError(f"{path} has no rows; {REMEDY}")
    return table


def _wrong(path: Path, line: int, problem: str, remedy: str = "mend that line") -> InputError:
    return InputError(f"{path} line {line}: {problem}; {remedy}, or {REMEDY}")


def _compare(path: Path, what: str, count: int, official: int) -> None:
    if count != official:
        warnings.warn(f"{path} has {count:,} {what}, the official file {official:,}", stacklevel=2)


def _ids(table: pd.DataFrame, path: Path) -> list[str]:
    """narration_id, each there and once."""
    ids = _column(table, path, "narration_id", _name, "a name of letters, digits and _")
    first: dict[str, int] = {}
    for line, name in zip(table.index, ids, strict=True):
        if first.setdefault(name, line) != line:
            problem = f"narration_id {name!r} stands in line {first[name]} too"
            raise _wrong(path, line, problem, "keep one")
    return ids


def _column(
    table: pd.DataFrame, path: Path, column: str, parse: Callable[[str], T | None], must_be: str
) -> list[T]:
    """The values of a column; InputError naming the first that `parse` makes nothing of."""
    found: list[T] = []
    for line, text in zip(table.index, table[column].tolist(), strict=True):
        value = parse(text)
        if value is None:
            raise _wrong(path, line, f"{column} is {shown(text)}; it must be {must_be}")
        found.append(value)
    return found


# --- single values: None for what is not one ---------------------------------------------------


def _name(text: str) -> str | None:
    return text if NAME.fullmatch(text) else None


def _seconds(text: str) -> float | None:
    found = TIMESTAMP.fullmatch(text)
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) if found else None


def _verb(text: str) -> int | None:
    return _class(text, VERBS)


def _noun(text: str) -> int | None:
    return _class(text, NOUNS)


def _class(text: str, classes: int) -> int | None:
    known = re.fullmatch("[0-9]{1,4}", text) and int(text) < classes
    return int(text) if known else None


def _nouns(text: str) -> tuple[int, ...] | None:
    if not WHOLE_NUMBERS.fullmatch(text):
        return None
    numbers = tuple(int(number) for number in text.strip("[]").split(","))
    return numbers if max(numbers) < NOUNS else None
