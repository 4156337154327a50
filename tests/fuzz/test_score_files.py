"""Score files of `stages.evaluate mir`, clusterings, and the cache of vectors."""

import io
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmts.score_files import clusters_of_captions, read_scores
from mmts.vector_cache import VectorCache
from tests.fuzz.hostile import PICKLED, Runs, damaged, write
from tests.fuzz.odd_tables import odd_parquet
from tests.fuzz.outcome import Refused, outcome

VIDEOS, TEXTS = ["a", "b", "c"], ["x", "y"]
SCORES = np.arange(6.0).reshape(3, 2)
ARRAYS = (
    SCORES, SCORES.astype(">f2"), SCORES.astype(complex), SCORES.astype(str), SCORES.T, SCORES[:2],
    SCORES.astype("M8[s]"), SCORES.astype("V8"), SCORES > 2, SCORES.astype(np.int8), np.array(3.0),
    np.where(SCORES > 3, np.nan, SCORES), np.zeros((3, 2), [("a", "f4")]), np.zeros((3, 2, 0)),
    np.array([[Runs()] * 2] * 3, dtype=object), np.asfortranarray(SCORES), np.array([b"\xff"] * 3),
    np.array(VIDEOS), np.array(TEXTS),
)  # fmt: skip
HEADERS = (
    "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000000), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-3, -2), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 200000000), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3, 2), }",
    "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': 5, 'fortran_order': 0, 'shape': 3, }", "{" * 3000, "((" * 3000, "0", "x()", "",
)  # fmt: skip


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@st.composite
def arrays(draw: st.DrawFn, usual: np.ndarray) -> bytes:
    """A .npy file: the usual one, another, one whose header says another thing, a damaged one."""
    data = npy(usual if draw(st.integers(0, 2)) else draw(st.sampled_from(ARRAYS)))
    how = draw(st.integers(0, 5))
    if how == 0:
        text = draw(st.sampled_from(HEADERS)).encode() + b"\n"
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + SCORES.tobytes()
    return draw(damaged(data)) if how == 1 else data


def check_scores(found: np.ndarray | Refused) -> None:
    if not isinstance(found, Refused):
        assert found.shape == (3, 2) and found.dtype.kind in "fiu"
        assert np.isfinite(found).all()


@given(arrays(SCORES))
@example(PICKLED)
@example(npy(SCORES).replace(b"'descr'", b"'\\escr'"))  # Python warns of such a text
def test_npy(folder: Path, data: bytes) -> None:
    path = write(folder / "s.npy", data)
    check_scores(outcome(read_scores, path, VIDEOS, TEXTS))


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    members = {
        "sim_mat.npy": draw(arrays(SCORES)),
        "vis_ids.npy": draw(arrays(np.array(VIDEOS))),
        "txt_ids.npy": draw(arrays(np.array(TEXTS))),
    }
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from((*members, "sim_mat", "../../evil.npy", "vis_ids")))
        members[name] = draw(st.sampled_from((PICKLED, b"", b"PK\x03\x04", npy(SCORES))))
    buffer = io.BytesIO()
    kind = draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA,
                                 zipfile.ZIP_BZIP2)))  # fmt: skip
    with zipfile.ZipFile(buffer, "w", kind) as file:
        for name, data in members.items():
            file.writestr(name, data)
    data = buffer.getvalue()
    return draw(damaged(data)) if draw(st.integers(0, 2)) == 0 else data


@given(archives())
def test_npz(folder: Path, data: bytes) -> None:
    path = write(folder / "s.npz", data)
    check_scores(outcome(read_scores, path, VIDEOS, TEXTS))


def test_a_small_archive_of_gigabytes_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in (("vis_ids", np.array(VIDEOS)), ("txt_ids", np.array(TEXTS))):
            file.writestr(f"{name}.npy", npy(array))
        with file.open("sim_mat.npy", "w") as member:
            header = npy(np.zeros((3, 2)))[:128].replace(
                b"(3, 2), }" + b" " * 6, b"(3, 8000000), }"
            )
            assert len(header) == 128
            member.write(header)
            for _ in range(12):
                member.write(bytes(16 << 20))
    found = outcome(read_scores, folder / "bomb.npz", VIDEOS, TEXTS)
    assert isinstance(found, Refused) and "bytes" in found.line


CLUSTERS = pd.DataFrame(
    {"caption_id": [*"abcd"], "cluster_id": np.int32([0, 0, 1, 2]), "cluster_size": [3, 3, 2, 1]}
)


@given(odd_parquet(CLUSTERS))
def test_clusters(folder: Path, data: bytes) -> None:
    path = write(folder / "c.parquet", data)
    found = outcome(clusters_of_captions, path, [*"abcd"])
    if not isinstance(found, Refused):
        clusters, parts = found
        assert len(clusters) == len(parts) == 4 and {*map(type, clusters)} == {int}
        assert set(parts) <= {"head", "medium", "tail"}


# --- the cache of vectors ----------------------------------------------------------------------

KEYS = [bytes([n]) * 32 for n in range(4)]


@pytest.fixture(scope="module")
def cache(folder: Path) -> bytes:
    with VectorCache(folder / "made.sqlite", 3) as store:
        store.put(KEYS[:3], np.arange(9, dtype=np.float32).reshape(3, 3))
    return (folder / "made.sqlite").read_bytes()


def _used(path: Path) -> dict[bytes, np.ndarray]:
    with VectorCache(path, 3) as store:
        found = dict(store.get(KEYS))
        store.put(KEYS[3:], np.ones((1, 3), np.float32))
        return found


@given(st.data())
def test_vector_cache(folder: Path, cache: bytes, data: st.DataObject) -> None:
    path = write(folder / "v.sqlite", data.draw(damaged(cache)))
    found = outcome(_used, path)
    assert isinstance(found, Refused) or all(v.shape == (3,) for v in found.values())
    for left in folder.glob("v.sqlite-*"):
        left.unlink()


SCHEMES = (
    "CREATE TABLE vectors (a)",
    "CREATE VIEW vectors AS SELECT x'00' AS key, x'00' AS vector",
    "CREATE VIEW vectors AS WITH RECURSIVE t(key) AS (SELECT 1 UNION ALL SELECT key + 1 FROM t) "
    "SELECT key, 1 AS vector FROM t",
    "CREATE TABLE vectors (key, vector, more NOT NULL)",
)
VALUES = (b"", b"\0" * 12, b"\0" * 13, b"\0" * 16, 5, 0.5, "text", None, b"\xff" * 12)


@given(st.sampled_from((None, *SCHEMES)), st.sampled_from(VALUES))
def test_other_databases(folder: Path, scheme: str | None, value: object) -> None:
    path = folder / "o.sqlite"
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path)
    db.execute(scheme or "CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB)")
    if scheme is None:
        db.execute("INSERT INTO vectors VALUES (?, ?)", (KEYS[0], value))
    db.commit()
    db.close()
    found = outcome(_used, path)
    assert isinstance(found, Refused) or all(
        v.shape == (3,) and np.isfinite(v).all() for v in found.values()
    )
