"""params.yaml, study/params.yaml, records and index of a study."""

import json
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mmts.config import load
from mmts.params import read_params
from mmts.study.index import read_index
from mmts.study.records import Records, packed, unpacked
from mmts.study.settings import load_study
from tests.fuzz.hostile import damaged, odd, odd_json, odd_tree, write
from tests.fuzz.outcome import Refused, outcome
from tests.making import PARAMS, changed

ROOT = Path(__file__).parents[2]
YAML = (
    "!!python/object/apply:os.system [echo]", "!!binary x", "!!timestamp x", "!!int x", "!!bool x",
    "!!float x", "!!omap x", "!!set {a}", "!!null x", "!!pairs [1]", "!!map 3", "!!seq 3", "!x y",
    "2001-99-99", "2001-01-01", "12:30:99", "0o9", "1_000", "0x", "*a", "&a [*a]", "<<: *a",
    "? [a]", "{[a]: b}", "{1: 2, 1: 3}", "|", ">", "%YAML 3.0", "---", "...", "\t", "@", "`",
    "- - - -", "1" * 5_000, "1e400", ".nan", "~", "'", '"\\x"', '"\\ud800"', "# x", "a: b: c",
    "[" * 1_000, "a: &x {b: &y {c: *x}}",
)  # fmt: skip


@st.composite
def yaml(draw: st.DrawFn, text: str) -> bytes:
    """A YAML file with a value replaced by something odd, or damaged."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        key, colon, _ = lines[at].partition(":")
        new = draw(st.one_of(st.sampled_from(YAML), st.text(max_size=5)))
        how = draw(st.sampled_from(("value", "line", "drop", "key")))
        if how == "value":
            lines[at] = f"{key}: {new}" if colon else f"{lines[at]}{new}"
        elif how == "drop":
            del lines[at]
        else:
            indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
            lines.insert(at, f"{indent}{new}" + (": 1" if how == "key" else ""))
        lines = lines or [""]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    return draw(damaged(data)) if draw(st.integers(0, 3)) == 0 else data


SMALL = """\
grid: {datasets: [tiny], methods: [base], seeds: [0]}
methods:
  base:
    objective: info_nce
    schedule: cosine
    temperature: {alpha: 0.04}
    per_dataset:
      own: {shift: log}
datasets:
  own: {base: tiny}
  tiny:
    temperature: {fixed: 0.07}
    captions:
      sources:
        pairs: {kind: table}
report: {}
"""
NESTED = "[x, x, x]"
for _level in range(12):
    NESTED = f"[&a{_level} {NESTED}, {', '.join([f'*a{_level}'] * 8)}]"
BOMB = f"grid: {{datasets: {NESTED}, methods: [base], seeds: [0]}}\n"
BOMB += "methods: {}\ndatasets: {}\nreport: {}\n"


@given(yaml(SMALL))
@example(b"a: !!timestamp x")
@example(b"a: !!bool x")
@example(b"a: 2001-99-99")
@example(b"a: " + b"1" * 5_000)
@example(b"a: " + b"[" * 1_000)
@example(b"a: &x {b: &y {c: *x}}")
@example(SMALL.replace("alpha", "1").encode())
@example(SMALL.replace("{}", "{null: 3}").encode())
@example(BOMB.encode())
@example(b"grid: &a\n  datasets: *a\n")
@example(SMALL.replace("base: tiny", "base: own").encode())
@example(SMALL.replace("base: tiny", "base: [tiny]").encode())
@example(SMALL.replace("0.04", "1" + 400 * "0").encode())
@example(SMALL.replace("{shift: log}", "3").encode())
@example(SMALL.replace("base: tiny", "base: &a [*a]").encode())
@example(b"a: &a 1\nb: &a 2\n")
@example(b'"\\ud800": 1\n"\\ud800": 1\n')
def test_yaml(folder: Path, data: bytes) -> None:
    path = write(folder / "params.yaml", data)
    found = outcome(read_params, path)
    if not isinstance(found, Refused):
        assert isinstance(found, dict)
    outcome(load, path)


MORE = changed(
    PARAMS,
    {
        "datasets.own": {"base": "tiny", "train": {"epochs": 3}},
        "methods.base.per_dataset": {"own": {"schedule": "cosine", "temperature": {"alpha": 0.01}}},
    },
)


@given(odd_tree(MORE))
@example(MORE)
def test_params(folder: Path, tree: object) -> None:
    text = json.dumps(tree)
    outcome(load, write(folder / "params.yaml", text.encode()))


STUDY = {
    "datasets": ["tiny"], "trials": 2,
    "seeds": {"trials": [0], "results": [1, 2], "ablations": [3]},
    "methods": {"base": {"grids": [{"centre": [0.05, 0.07]}]}},
    "ablations": {"k": {"methods": ["base"], "grid": {"clustering.k": [2, 4]}}},
    "tail": {"classes": 4, "largest_ratio": 8.0, "batch_size": 8, "steps": 10},
}  # fmt: skip


@given(odd_tree(STUDY))
@example(STUDY)
def test_study_settings(folder: Path, tree: object) -> None:
    found = outcome(load_study, write(folder / "study.yaml", json.dumps(tree).encode()))
    if json.dumps(tree) == json.dumps(STUDY):  # 0 is equal to -0.0 and to False
        assert not isinstance(found, Refused), found.line


# --- records -----------------------------------------------------------------------------------

RECORD = {
    "key": "k0", "dataset": "tiny", "validation": {"val/rsum": 10.5}, "test": {"t2v/R@1": 0.5},
    "levels": {"t2v": packed(np.array([0, 1, 2, 3, 0], np.uint8))},
}  # fmt: skip


@example([json.dumps(RECORD).replace("10.5", "1" + "0" * 400).encode()], True)
@example([json.dumps(RECORD).replace("10.5", "NaN").encode()], True)
@example([b"[" * 1_000], True)
@given(st.lists(odd_json(RECORD), min_size=1, max_size=3), st.booleans())
def test_records(folder: Path, lines: list[bytes], whole: bool) -> None:
    path = write(folder / "tiny.jsonl", b"\n".join(lines) + b"\n" * whole)
    found = outcome(Records, folder, "tiny")
    if not isinstance(found, Refused):
        assert all(type(key) is str for key in found.by_key)
        outcome(found.tidy, set(found.by_key))
        assert path.is_file()


LEVELS = RECORD["levels"]["t2v"]


@example(b"AAAA", 5)
@given(st.one_of(damaged(LEVELS.encode()), odd()), st.sampled_from((0, 5, 9)))
def test_levels(text: object, queries: int) -> None:
    given = text.decode("latin-1") if isinstance(text, bytes) else text
    found = outcome(unpacked, given, queries)
    assert isinstance(found, Refused) or (len(found) == queries and set(found) <= {0, 1, 2, 3})


ENTRY = {"name": "base", "changes": {"alpha": 0.1}, "varied": {}, "keys": ["k0", "k1"]}
INDEX = {"dataset": "tiny", "trials": [ENTRY], "chosen": [ENTRY], "ablations": {"k": [ENTRY]}}


@given(odd_json(INDEX))
def test_index(folder: Path, data: bytes) -> None:
    write(folder / "tiny.json", data)
    found = outcome(read_index, folder, "tiny")
    if not isinstance(found, Refused):
        outcome(found.keys)
