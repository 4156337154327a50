"""Strategies of files that are almost right: damaged bytes, and JSON of odd values."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

MARK = "MMTS_FUZZ_RAN"
"""A variable of the environment that is set where a hostile file has run code."""


class Runs:
    """Unpickled, it sets MARK."""

    def __deepcopy__(self, _: object) -> Runs:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"import os; os.environ[{MARK!r}] = '1'",)


PICKLED = pickle.dumps(Runs())
TEXTS = (
    "", " ", "NA", "nan", "null", "a\x00b", "../../evil", "/etc/passwd", "a\r\nb", "x" * 400,
    "\u202eabc", "e\u0301", "\U0001f600", "=1+1", "<b>&", '"', "a,b\tc", "-1", "1e999", "0x10",
)  # fmt: skip
HALF = "\ud800"
"""Half a character: JSON can say it, UTF-8 cannot."""
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0,
    float("nan"), float("inf"), float("-inf"), HALF, f"a{HALF}", [], {}, [None], [[]], [1, 2],
    ["a"], {"a": 1}, {"": None}, *TEXTS,
)  # fmt: skip
DEEP = tuple(opening * 3_000 for opening in ("[", '{"a":'))


def odd() -> st.SearchStrategy[Any]:
    """A value that may stand in JSON."""
    return st.sampled_from(ODD)


@st.composite
def damaged(draw: st.DrawFn, data: bytes, most: int = 3) -> bytes:
    """Bytes with some edits: cut, written over, taken out, put in, repeated; rarely none."""
    found = bytearray(data)
    for _ in range(draw(st.integers(0, most))):
        end = len(found)
        near = st.one_of(st.integers(0, min(end, 600)), st.integers(max(0, end - 600), end))
        at = draw(st.one_of(near, st.integers(0, end)))
        kind = draw(st.sampled_from(("cut", "write", "flip", "take", "put", "repeat")))
        if kind == "cut":
            del found[at:]
        elif kind == "flip" and at < end:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "take":
            del found[at : at + draw(st.integers(1, 64))]
        elif kind == "repeat":
            found[at:at] = found[at : at + draw(st.integers(1, 600))]
        else:
            new = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(NUMBERS)))
            found[at : at + (len(new) if kind == "write" else 0)] = new
    return bytes(found)


NUMBERS = (
    b"\xff" * 4, b"\x00" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f",
    b"\x80\0\0\0", b"99999999999999", b"-1", b"\n", b",", b'"', b"{", b"[",
)  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value of nested dicts and lists."""
    found = [path]
    if isinstance(tree, dict):
        found += [place for key in tree for place in places(tree[key], (*path, key))]
    elif isinstance(tree, (list, tuple)):
        found += [place for n in range(len(tree)) for place in places(tree[n], (*path, n))]
    return found


@st.composite
def odd_tree(draw: st.DrawFn, tree: Any, values: st.SearchStrategy[Any] | None = None) -> Any:
    """The tree with up to three values replaced, taken out or added."""
    found = copy.deepcopy(tree)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(found)))
        value = copy.deepcopy(draw(odd() if values is None else values))
        if not path:
            if draw(st.integers(0, 4)) == 0:
                return value
            continue
        node = found
        for key in path[:-1]:
            node = node[key]
        if isinstance(node, tuple):
            continue
        how = draw(st.sampled_from(("set", "set", "drop", "add", "twice")))
        if how == "drop":
            del node[path[-1]]
        elif how == "add" and isinstance(node, dict):
            node[draw(st.sampled_from(TEXTS))] = value
        elif how == "twice" and isinstance(node, list):
            node.append(copy.deepcopy(node[path[-1]]))
        else:
            node[path[-1]] = value
    return found


@st.composite
def odd_json(draw: st.DrawFn, tree: Any) -> bytes:
    """The file of an odd tree, or a damaged one, or one of absurd depth."""
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return draw(st.sampled_from(DEEP)).encode()
    text = json.dumps(draw(odd_tree(tree)), ensure_ascii=draw(st.booleans()))
    data = text.encode("utf-8", "surrogatepass")
    return draw(damaged(data)) if kind < 5 else data


def fewer(share: int) -> settings:
    """For a reader that is slow: a part of the examples that the others have."""
    return settings(max_examples=settings.default.max_examples // share)


def write(path: Path, data: bytes) -> Path:
    """A file of these bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
