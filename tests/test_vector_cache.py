import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmts import vector_cache
from mmts.errors import InputError
from mmts.vector_cache import (
    VectorCache,
    Vectors,
    by_length,
    content_key,
    lengths,
    through_cache,
)

TEXTS = ["a", "b", "a", "c", "b", "d", "e"]


def vector(text: str) -> Vectors:
    return np.array([ord(text[0]), len(text), -1], dtype=np.float32)


class Computer:
    """Counts what it computes; may stop after some batches of two."""

    def __init__(self, texts: list[str], stop_after: int | None = None) -> None:
        self.texts, self.stop_after, self.computed = texts, stop_after, []

    def __call__(self, missing: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        for n, start in enumerate(range(0, len(missing), 2)):
            if n == self.stop_after:
                raise KeyboardInterrupt
            part = missing[start : start + 2]
            self.computed += [self.texts[i] for i in part]
            yield part, np.stack([vector(self.texts[i]) for i in part])


def run(path: Path, computer: Computer) -> tuple[Vectors, int]:
    keys = [content_key(text.encode()) for text in computer.texts]
    with VectorCache(path, 3) as cache:
        return through_cache(cache, keys, computer)


def test_each_distinct_content_is_computed_once(tmp_path: Path) -> None:
    first = Computer(TEXTS)
    vectors, computed = run(tmp_path / "deep/c.sqlite", first)
    np.testing.assert_array_equal(vectors, [vector(t) for t in TEXTS])
    assert computed == 5 and sorted(first.computed) == ["a", "b", "c", "d", "e"]
    second = Computer(TEXTS[::-1])
    vectors, computed = run(tmp_path / "deep/c.sqlite", second)
    np.testing.assert_array_equal(vectors, [vector(t) for t in TEXTS[::-1]])
    assert computed == 0 and second.computed == []


def test_new_rows_alone_are_computed(tmp_path: Path) -> None:
    run(tmp_path / "c.sqlite", Computer(TEXTS))
    more = Computer(["x", *TEXTS, "y", "x"])
    vectors, computed = run(tmp_path / "c.sqlite", more)
    assert computed == 2 and more.computed == ["x", "y"]
    np.testing.assert_array_equal(vectors, [vector(t) for t in more.texts])


def test_vectors_are_held_once(tmp_path: Path) -> None:
    keys = [content_key(str(n).encode()) for n in range(2_000)]
    wanted = np.random.default_rng(0).standard_normal((2_000, 512)).astype(np.float32)

    def compute(missing: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        for start in range(0, len(missing), 100):
            yield missing[start : start + 100], wanted[missing[start : start + 100]]

    for new in (2_000, 0):
        tracemalloc.start()
        try:
            with VectorCache(tmp_path / "c.sqlite", 512) as cache:
                vectors, computed = through_cache(cache, keys, compute)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert computed == new and peak < 1.5 * wanted.nbytes
        np.testing.assert_array_equal(vectors, wanted)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    stopped = Computer(TEXTS, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "c.sqlite", stopped)
    assert stopped.computed == ["a", "b", "c", "d"]
    rest = Computer(TEXTS)
    vectors, computed = run(tmp_path / "c.sqlite", rest)
    assert rest.computed == ["e"] and computed == 1
    np.testing.assert_array_equal(vectors, [vector(t) for t in TEXTS])


def test_more_keys_than_one_query_takes(tmp_path: Path) -> None:
    keys = [content_key(str(n).encode()) for n in range(1234)]
    wanted = np.arange(1234 * 3, dtype=np.float32).reshape(-1, 3)
    with VectorCache(tmp_path / "c.sqlite", 3) as cache:
        cache.put(keys, wanted)
        found = dict(cache.get([*keys, content_key(b"other")]))
    assert len(found) == 1234
    np.testing.assert_array_equal([found[k] for k in keys], wanted)


def test_put_is_all_or_nothing(tmp_path: Path) -> None:
    keys = [content_key(b"a"), content_key(b"b")]
    with VectorCache(tmp_path / "c.sqlite", 3) as cache:
        with pytest.raises(ValueError, match="shorter"):
            cache.put(keys, np.ones((1, 3), dtype=np.float32))
        assert list(cache.get(keys)) == []


def test_vectors_of_another_length(tmp_path: Path) -> None:
    run(tmp_path / "c.sqlite", Computer(TEXTS))
    with (
        VectorCache(tmp_path / "c.sqlite", 4) as cache,
        pytest.raises(InputError, match=r"c\.sqlite holds vectors of another length; delete it"),
    ):
        list(cache.get([content_key(b"a")]))


def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"this is no database at all" * 50)
    with pytest.raises(InputError, match=r"c\.sqlite is not a usable cache .*; delete it"):
        VectorCache(tmp_path / "c.sqlite", 3)


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_lengths_are_counted_in_portions(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("mmts.vector_cache.TEXTS_AT_ONCE", 4)
    texts, seen = "abcdefghijkl" * 2, []

    def of(rows: list[int]) -> list[int]:
        seen.append(len(rows))
        return [ord(texts[row]) for row in rows]

    missing = np.arange(3, 3 + 2 * count, 2)
    found = lengths(missing, of)
    assert found.dtype == np.int64 and found.tolist() == [ord(texts[row]) for row in missing]
    assert sum(seen) == count and max(seen, default=0) <= 4 and len(seen) == -(-count // 4)


def test_texts_of_one_length_together_the_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmts.vector_cache.TEXTS_A_TRANSACTION", 4)
    tokens = np.array([2, 5, 2, 3, 5, 2])
    missing = np.array([10, 11, 12, 20, 21, 22])
    seen: list[list[int]] = []

    def encode(rows: NDArray[np.int64]) -> Vectors:
        seen.append(rows.tolist())
        return rows[:, None].astype(np.float32)

    parts = list(by_length(missing, tokens, encode, "texts"))
    assert seen == [[11, 21], [20], [10], [12, 22]]
    assert [rows.tolist() for rows, _ in parts] == [[11, 21, 20, 10], [12, 22]]
    for rows, vectors in parts:
        np.testing.assert_array_equal(vectors[:, 0], rows)


def test_the_bar_counts_tokens_as_the_longest_texts_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "0")
    done: list[tuple[float, float]] = []

    class Bar(vector_cache.tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            done.append((n or 0, self.total))
            return super().update(n)

    monkeypatch.setattr(vector_cache, "tqdm", Bar)
    tokens = np.array([3, 9, 3])
    list(by_length(np.arange(3), tokens, lambda rows: np.zeros((len(rows), 2), np.float32), "t"))
    assert done == [(9, 15), (6, 15)]


def test_a_flipped_bit_of_a_vector_is_found(tmp_path: Path) -> None:
    """And a row of an older version, without a sum, is taken as it is."""
    path, key = tmp_path / "cache.sqlite", content_key(b"a")
    vector = np.arange(3, dtype=np.float32)
    with VectorCache(path, 3) as cache:
        cache.put([key], vector[None])
        assert next(cache.get([key]))[1].tolist() == [0, 1, 2]
    old = vector.tobytes()
    with sqlite3.connect(path) as database:
        (blob,) = database.execute("SELECT vector FROM vectors").fetchone()
        assert blob[:12] == old and len(blob) == 17
        database.execute("UPDATE vectors SET vector = ?", (bytes([blob[0] ^ 1]) + blob[1:],))
    with VectorCache(path, 3) as cache, pytest.raises(InputError, match="damaged; delete it"):
        list(cache.get([key]))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE vectors SET vector = ?", (old,))
    with VectorCache(path, 3) as cache:
        assert next(cache.get([key]))[1].tolist() == [0, 1, 2]
