"""What the samples of a split say: a row at a time, or a column at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ROWS = 1024
STREAM = "stream_"  # begins what the index has of a stream
PLACES = {"shard", "image_offset", "image_bytes", "image_crc32"}
Sample = dict[str, Any]


class Texts(Sequence[str]):
    """Strings in Arrow arrays: a tenth of what Python's take, and forked workers share them."""

    def __init__(self, values: pa.ChunkedArray) -> None:
        """`values`: of strings, none of them null."""
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> list[str]: ...

    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            start, stop, step = number.indices(len(self))
            if step == 1:
                return list(self.values.slice(start, max(0, stop - start)).to_pylist())
            return [self[n] for n in range(start, stop, step)]
        found: str = self.values[int(number)].as_py()
        return found

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), ROWS):
            yield from self[start : start + ROWS]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def places(wanted: Iterable[str], known: Iterable[str]) -> NDArray[np.int64]:
    """Where in `known` each of `wanted` stands first; -1 where it does not."""
    among, of = _strings(known), _strings(wanted)
    found: NDArray[np.int64] = pc.index_in(of, among).fill_null(-1).to_numpy().astype(np.int64)
    return found


def _strings(texts: Iterable[str]) -> pa.ChunkedArray:
    if isinstance(texts, Texts):
        return texts.values
    found = pa.array(texts if hasattr(texts, "array") else list(texts), pa.string())
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


class Samples(Sequence[Sample]):
    """The JSON of each sample in packed order, made from Arrow columns when it is asked for."""

    def __init__(self, index: pa.Table) -> None:
        """`index`: what `read_index` gives."""
        names = [
            name
            for name in index.column_names
            if name not in PLACES and not name.startswith(STREAM)
        ]
        order = ["sample_id", "source", "split"]
        self._table = index.select([*order, *(name for name in names if name not in order)])

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, number: int) -> Sample: ...

    @overload
    def __getitem__(self, number: slice) -> list[Sample]: ...

    def __getitem__(self, number: int | slice) -> Sample | list[Sample]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        found: Sample = self._table.slice(place, 1).to_pylist()[0]
        return found

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), ROWS):
            yield from self._table.slice(start, ROWS).to_pylist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def column(self, name: str) -> Sequence[Any] | None:
        """A value a sample; None where the samples have no such column."""
        if name not in self._table.column_names:
            return None
        return _values(self._table[name])

    def flat(self, name: str) -> Sequence[Any] | None:
        """The values of a list column, one sample's after the other."""
        if name not in self._table.column_names:
            return None
        return _values(_flattened(self._table[name]))

    def take(self, numbers: NDArray[np.int64]) -> Samples:
        """Some of them, in the order of their numbers here."""
        return Samples(self._table.take(pa.array(numbers)))

    def counts(self, name: str) -> NDArray[np.int64]:
        """[samples], the length of each sample's list."""
        lists = self._table[name]
        ends = [chunk.value_lengths().to_numpy(zero_copy_only=False) for chunk in lists.chunks]
        return np.concatenate([np.empty(0, np.int64), *ends]).astype(np.int64)


def _flattened(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.flatten() for chunk in lists.chunks], lists.type.value_type)


def _values(column: pa.ChunkedArray) -> Sequence[Any]:
    """Texts stay where they are; numbers through NumPy, which is ten times as fast."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        return Texts(column)
    if pa.types.is_integer(column.type) and not column.null_count:
        return list(column.to_numpy().tolist())
    return list(column.to_pylist())


def counts(samples: Sequence[Mapping[str, Any]], name: str = "captions") -> NDArray[np.int64]:
    """[samples], the length of each sample's list `name`; of any samples."""
    if isinstance(samples, Samples):
        return samples.counts(name)
    return np.array([len(sample[name]) for sample in samples], dtype=np.int64)


def column(samples: Sequence[Mapping[str, Any]], name: str) -> Sequence[Any] | None:
    """A value a sample, of any samples; None where some have no `name`."""
    if isinstance(samples, Samples):
        return samples.column(name)
    return [s[name] for s in samples] if all(name in sample for sample in samples) else None


def flat(samples: Sequence[Mapping[str, Any]], name: str) -> Sequence[Any] | None:
    """The values of all samples' lists `name`, of any samples; None where some have no `name`."""
    if isinstance(samples, Samples):
        return samples.flat(name)
    lists = column(samples, name)
    return None if lists is None else [value for values in lists for value in values]
