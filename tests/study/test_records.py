from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmts.errors import InputError
from mmts.study.records import Records, levels_of, packed, unpacked


def record(key: str, rsum: float = 1.0) -> dict[str, Any]:
    return {"key": key, "name": "é", "validation": {"val/rsum": rsum}}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A file of three records."""
    records = Records(tmp_path / "study", "tiny")
    for key in "cab":
        records.add(record(key))
    return records.path


def read(path: Path) -> dict[str, dict[str, Any]]:
    return Records(path.parent, "tiny").by_key


def test_a_record_comes_back_and_the_last_of_a_key_counts(three: Path) -> None:
    assert read(three) == {key: record(key) for key in "cab"}
    Records(three.parent, "tiny").add(record("a", 2.0))
    assert read(three)["a"] == record("a", 2.0) and len(three.read_bytes().splitlines()) == 4
    assert Records(three.parent, "other").by_key == {}


def test_rsum_of_an_old_line_is_converted(tmp_path: Path) -> None:
    old = record("a", 2.195) | {"test": {"t2v/R@1": 0.5, "rsum": 2.5}}
    path = tmp_path / "tiny.jsonl"
    path.write_text(json.dumps(old) + "\n" + json.dumps(record("b", 1)) + "\n")
    records = Records(tmp_path, "tiny")
    assert records.by_key["a"]["validation"]["val/rsum"] == pytest.approx(219.5)
    assert records.by_key["a"]["test"] == {"t2v/R@1": 0.5, "rsum": 250}
    assert records.by_key["b"] == record("b", 100)
    for _ in range(2):  # what is written is not converted again
        records.tidy({"a", "b"})
        records = Records(tmp_path, "tiny")
    assert records.by_key["a"]["test"] == {"t2v/R@1": 0.5, "rsum": 250}
    assert records.by_key["b"] == record("b", 100)
    assert [json.loads(line)["version"] for line in path.read_text().splitlines()] == [2, 2]


@pytest.mark.parametrize("cut", [1, 2, 30, 1000])
def test_a_line_that_a_kill_cut(three: Path, cut: int) -> None:
    whole = three.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    three.write_bytes(whole[: -min(cut, last - 1)])  # cut 1: the line is whole but for its end
    records = Records(three.parent, "tiny")
    assert set(records.by_key) == {"a", "c"}
    records.add(record("d"))
    records.add(record("b"))
    assert read(three) == {key: record(key) for key in "cadb"}
    assert three.read_bytes().count(b"\n") == 4


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "",
        "[1]",
        "3",
        '{"key": "x"}',
        '{"key": "x", "validation": {}}',
        '{"version": 3, "key": "x", "validation": {"val/rsum": 1}}',
        '"key"',
        "<<<<<<< HEAD",
    ],
)
def test_a_damaged_line_is_named(three: Path, line: str) -> None:
    first, _, last = three.read_text().splitlines()
    three.write_text(f"{first}\n{line}\n{last}\n")
    with pytest.raises(InputError) as caught:
        read(three)
    assert str(caught.value) == (
        f"{three} line 2 is no record; remove the line and run the study again"
    )


def test_tidy(three: Path) -> None:
    with open(three, "ab") as file:
        file.write(b'{"ke')
    records = Records(three.parent, "tiny")
    records.tidy({"b", "a", "x"})
    lines = [json.loads(line)["key"] for line in three.read_text().splitlines()]
    assert lines == ["a", "b"] == list(records.by_key) and read(three) == records.by_key
    records.add(record("d"))
    assert set(read(three)) == {"a", "b", "d"}
    assert [path.name for path in three.parent.iterdir()] == ["tiny.jsonl"]


def test_nothing_that_is_no_number_is_written(three: Path) -> None:
    before = three.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        Records(three.parent, "tiny").add(record("d", float("nan")))
    assert three.read_bytes() == before


def test_queries(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"direction": ["t2v", "v2t"], "item": np.array([0, 0], "i4"), "part": ["head", "tail"],
         "class": np.array([1, 2], "i4")}
    )  # fmt: skip
    records, path = Records(tmp_path, "tiny"), tmp_path / "tiny.parquet"
    records.keep_queries(table)
    before = path.stat()
    records.keep_queries(table)
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.stat().st_ino == before.st_ino
    records.keep_queries(table.assign(**{"class": np.array([0, 0], "i4")}))  # another sweep
    assert pd.read_parquet(path)["class"].tolist() == [0, 0]
    for other in (table.assign(part="head"), table[:1]):
        with pytest.raises(InputError, match=r"tiny\.parquet has other test queries or parts than"):
            records.keep_queries(other)
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"not a Parquet file .*; remove it and run the study"):
        records.keep_queries(table)


def test_levels() -> None:
    assert levels_of(np.array([1, 2, 5, 6, 10, 11, 999])).tolist() == [0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("queries", range(10))
def test_packed_levels(queries: int) -> None:
    levels = np.random.default_rng(queries).integers(0, 4, queries).astype(np.uint8)
    found = unpacked(packed(levels), queries)
    assert found.dtype == np.uint8 and found.tolist() == levels.tolist()
