"""Strategies of tables that are almost right, as Parquet and as text."""

from __future__ import annotations

import datetime
import decimal
import io
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from tests.fuzz.hostile import TEXTS, damaged

CELLS: tuple[Callable[[int], pa.Array], ...] = (
    lambda n: pa.array([None] * n, pa.string()),
    lambda n: pa.nulls(n),
    lambda n: pa.array([b"\xff\xfe"] * n, pa.binary()),
    lambda n: pa.array(range(n), pa.int64()),
    lambda n: pa.array([-1] * n, pa.int8()),
    lambda n: pa.array([2**64 - 1] * n, pa.uint64()),
    lambda n: pa.array([0.5, *[float("nan")] * n][:n], pa.float64()),
    lambda n: pa.array([True] * n),
    lambda n: pa.array([["a"]] * n),
    lambda n: pa.array([[1, None]] * n),
    lambda n: pa.array([{"a": 1}] * n),
    lambda n: pa.array([datetime.datetime(2020, 1, 1)] * n),
    lambda n: pa.array([datetime.date(1, 1, 1)] * n),
    lambda n: pa.array([decimal.Decimal("1.5")] * n),
    lambda n: pa.array(["a", None] * n).slice(0, n).dictionary_encode(),
    lambda n: pa.array([TEXTS[i % len(TEXTS)] for i in range(n)]),
    lambda n: pa.array(["same"] * n, pa.large_string()),
    lambda n: pa.StringArray.from_buffers(  # not UTF-8
        n, pa.py_buffer(np.arange(n + 1, dtype=np.int32).tobytes()), pa.py_buffer(b"\xff" * n)
    ),
)
METADATA = (
    b"{", b"[]", b"null", b'{"index_columns": ["a"]}', b'{"pandas_version": 1}',
    b'{"columns": [{"name": 5}], "index_columns": []}',
    b'{"index_columns": [{"kind": "range", "start": 0, "stop": 9, "step": 0}], "columns": [],'
    b' "column_indexes": []}',
    b'{"index_columns": ["caption"], "columns": [{"name": "caption", "field_name": "caption",'
    b' "pandas_type": "datetimetz", "numpy_type": "x", "metadata": {}}], "column_indexes": []}',
)  # fmt: skip


@st.composite
def odd_table(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """The table with columns of other types, values, names or none; rows that are gone."""
    found = table.slice(0, draw(st.sampled_from((table.num_rows, 1, 0, table.num_rows))))
    for _ in range(draw(st.integers(0, 2))):
        if not found.num_columns:
            break
        at = draw(st.integers(0, found.num_columns - 1))
        how = draw(st.sampled_from(("cells", "cells", "drop", "rename", "null", "twice")))
        name, column = found.column_names[at], found.column(at)
        if how == "cells":
            cells = draw(st.sampled_from(CELLS))(found.num_rows)
            found = found.set_column(at, name, cells)
        elif how == "drop":
            found = found.remove_column(at)
        elif how == "rename":
            found = found.set_column(at, draw(st.sampled_from(TEXTS)), column)
        elif how == "null":
            if found.num_rows:
                rest = column.combine_chunks().slice(1)
                first = pa.nulls(1, column.type)
                found = found.set_column(at, name, pa.chunked_array([first, rest]))
        else:
            found = found.append_column(name, column)
    if draw(st.integers(0, 4)) == 0:
        metadata = {**(found.schema.metadata or {}), b"pandas": draw(st.sampled_from(METADATA))}
        found = found.replace_schema_metadata(metadata)
    return found


@st.composite
def odd_parquet(draw: st.DrawFn, rows: pd.DataFrame | pa.Table) -> bytes:
    """The file of an odd table, one time in three damaged."""
    import pyarrow.parquet as pq

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows)
    buffer = io.BytesIO()
    pq.write_table(draw(odd_table(table)), buffer)
    data = buffer.getvalue()
    return draw(damaged(data)) if draw(st.integers(0, 2)) == 0 else data


@st.composite
def odd_csv(draw: st.DrawFn, rows: Sequence[Sequence[str]], separator: str = ",") -> bytes:
    """Lines of fields with other fields, ends and quotes, sometimes damaged."""
    lines = [list(row) for row in rows]
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.integers(0, len(lines) - 1))
        field = draw(st.integers(0, len(lines[row])))
        text = draw(st.one_of(st.sampled_from(TEXTS), st.text(max_size=6)))
        if draw(st.booleans()) or field == len(lines[row]):
            lines[row].insert(field, text)
        elif draw(st.booleans()):
            lines[row][field] = text
        else:
            del lines[row][field]
    quoted = draw(st.booleans())
    ending = draw(st.sampled_from(("\n", "\r\n", "\r", "\n\n")))
    written = [
        separator.join(f'"{field}"' if quoted else field for field in line) for line in lines
    ]
    data = (ending.join(written) + ending).encode("utf-8", "surrogatepass")
    data = draw(st.sampled_from((b"", b"", b"\xef\xbb\xbf"))) + data
    return draw(damaged(data)) if draw(st.integers(0, 2)) == 0 else data
