"""Long tails: the published sizes, which items are drawn, and what is wrong."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmts.captions import build
from mmts.errors import InputError
from mmts.long_tail import draw, long_tail_line, pareto
from mmts.settings.sources import Captions, LongTail
from mmts.sources.ssv2_lt import COUNTS
from tests.making import write_table
from tests.making_ssv2 import entries, write_ssv2


def test_published_counts_follow_the_rule() -> None:
    """174 even steps of x from 1 to 2.46 into 2,500 x^-7, exact for all classes."""
    published = sorted(COUNTS.values(), reverse=True)
    steps = [1 + 1.46 * n / 173 for n in range(174)]
    assert published == [round(2500 * x**-7) for x in steps]
    assert pareto(174, 2500, 6, 2.46**7).tolist() == published
    assert pareto(174, 2500, 6, 545.2).tolist() == published  # as in docs/ssv2.md
    assert (sum(published), published[0], published[-1]) == (50_418, 2500, 5)


def test_sizes_by_hand() -> None:
    """Alpha 1: x^-2 at 1, 1.5 and 2."""
    assert pareto(3, 90, 1, 4).tolist() == [90, 40, 22]
    assert pareto(3, 2, 1, 400).tolist() == [2, 1, 1]  # none is without an item
    assert pareto(1, 7, 6, 100).tolist() == [7]


@pytest.fixture(scope="module")
def ssv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in the official form, with 40 training clips more than SSv2-LT has of each class."""
    raw = tmp_path_factory.mktemp("ssv2")
    sizes = {label: size + 40 + number % 3 for number, (label, size) in enumerate(COUNTS.items())}
    test = {label: 15 + number % 4 for number, label in enumerate(COUNTS)}
    write_ssv2(raw, entries(sizes), entries(test, first=200_000))
    return raw


def test_ssv2_lt(ssv2: Path) -> None:
    """50,418, 6,960 and 2,610 clips; each class has what is published."""
    settings = Captions.model_validate({
        "sources": {"ssv2": {"kind": "ssv2", "videos": None}},
        "long_tail": {"column": "template", "counts": "ssv2_lt", "val": 40, "test": 15},
    })  # fmt: skip
    assert Captions.model_validate(settings.model_dump(mode="json")) == settings  # of the plan
    found = build(settings, ssv2, ssv2, ssv2 / "final")
    assert found.summary["rows"] == {"train": 50_418, "val": 6_960, "test": 2_610}
    rows = found.rows
    assert found.dropped.empty and rows["caption_id"].is_unique
    sizes = rows.groupby("split")["class_template"].value_counts()
    assert sizes["train"].to_dict() == COUNTS
    assert sizes["val"].to_dict() == dict.fromkeys(COUNTS, 40)
    assert sizes["test"].to_dict() == dict.fromkeys(COUNTS, 15)
    of_training = rows["sample_id"].str.len() < len("ssv2/200000")
    assert (of_training == (rows["split"] != "test")).all()
    assert "test" not in found.summary["sources"]["ssv2"]["official"]
    told = found.summary["long_tail"]
    assert long_tail_line(told, "clips") == (
        "A long tail was drawn by template with seed 0 (174 classes of 2,500 to 5 clips, the "
        "published counts of SSv2-LT): 50,418 of 57,552 train clips; 6,960 of 57,552 train clips "
        "for val, 40 a class; 2,610 of 2,869 test clips, 15 a class. The clips themselves differ "
        "from the published ones."
    )


SIZES = {"a": 30, "b": 20, "c": 12, "d": 9}


def table(sizes: Mapping[str, int] = SIZES, test: int = 4, val: int = 0) -> pd.DataFrame:
    rows = [
        (f"{split}/{label}{n}", split, label)
        for split, held_out in (("train", None), ("val", val), ("test", test))
        for label, size in sizes.items()
        for n in range(size if held_out is None else held_out)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["sample_id", "split", "class_kind"])


def drawn(rows: pd.DataFrame, raw: Path = Path(), **settings: Any):  # type: ignore[no-untyped-def]
    chosen = LongTail.model_validate({"column": "kind", **settings})
    return draw(rows, chosen, raw)


def names(rows: pd.DataFrame, split: str, label: str = "") -> set[str]:
    chosen = (rows["split"] == split) & rows["class_kind"].str.startswith(label)
    return set(rows.loc[chosen, "sample_id"])


SIZED: dict[str, Any] = {"ratio": 4, "alpha": 1.0, "largest": 9, "val": 3, "test": 2}


def test_each_class_by_its_size() -> None:
    found, told = drawn(table(), **SIZED)
    sizes = found.groupby("split")["class_kind"].value_counts()
    assert sizes["train"].to_dict() == dict(zip("abcd", pareto(4, 9, 1, 4).tolist(), strict=True))
    assert sizes["train"].to_dict() == {"a": 9, "b": 5, "c": 3, "d": 2}
    assert set(sizes["val"]) == {3} and set(sizes["test"]) == {2}
    assert found["sample_id"].is_unique and all(
        name.startswith("test") == (split == "test")
        for name, split in zip(found["sample_id"], found["split"], strict=True)
    )
    assert found["sample_id"].tolist() == [
        n for n in table()["sample_id"] if n in set(found["sample_id"])
    ]
    assert told["drawn"]["val"] == {"items": 12, "pool": "train", "of": 71, "each": 3, "fewer": 0}


def test_what_is_drawn_moves_with_nothing_else() -> None:
    """Not with the order of rows, other classes, other items, or the sizes of other splits."""
    first = drawn(table(), **SIZED)[0]
    shuffled = drawn(table().sample(frac=1, random_state=0), **SIZED)[0]
    more = drawn(table({**SIZES, "e": 8}), **SIZED, seed=0)[0]
    for split in ("train", "val", "test"):
        assert names(shuffled, split) == names(first, split)
        assert names(more, split, "a") == names(first, split, "a")
    large = drawn(table(), **{**SIZED, "largest": 12, "val": 5})[0]
    for split in ("train", "val"):
        assert names(first, split) < names(large, split)
    assert not names(large, "train") & names(large, "val")
    gone = drawn(table({**SIZES, "a": 29}), **SIZED)[0]
    assert len(names(gone, "train", "a") - names(first, "train", "a")) <= 1
    other = drawn(table(), **SIZED, seed=1)[0]
    assert names(other, "train") != names(first, "train")


def test_as_large_as_all_classes_allow() -> None:
    """Class c has 12 items, 3 of them to validate on: a quarter of 37 is 9, of 38 it is 10."""
    rows = table({"a": 60, "b": 20, "c": 12})
    found, told = drawn(rows, **{**SIZED, "largest": None})
    assert told["largest"] == 37
    assert found.groupby("split")["class_kind"].value_counts()["train"].tolist() == [37, 16, 9]
    assert "'c' needs 10 training items and 3 to validate on, but has 12" in refusal(
        rows, **{**SIZED, "largest": 38}
    )


def test_splits_stay_as_they_are() -> None:
    """Without val and test; with a split val, val is drawn of it; fewer are taken and told."""
    sizes = {"ratio": 4.0, "alpha": 1.0, "largest": 9}
    found, told = drawn(table(val=2), **sizes)
    assert (found["split"] == "val").sum() == 8 and (found["split"] == "test").sum() == 16
    assert list(told["drawn"]) == ["train"]
    rows = table(val=3)
    rows = rows[rows["sample_id"] != "test/a3"]
    found, told = drawn(rows, **sizes, val=2, test=4)
    assert told["drawn"]["val"] == {"items": 8, "pool": "val", "of": 12, "each": 2, "fewer": 0}
    assert told["drawn"]["test"] == {"items": 15, "pool": "test", "of": 15, "each": 4, "fewer": 1}
    assert long_tail_line(told, "pictures") == (
        "A long tail was drawn by kind with seed 0 (4 classes of 9 to 2 pictures): 19 of 71 train "
        "pictures; 8 of 12 val pictures, 2 a class; 15 of 15 test pictures, 4 a class (fewer "
        "in 1)."
    )


def test_counts_of_a_file(tmp_path: Path) -> None:
    counts, path = {"d": 5, "a": 2}, tmp_path / "n.csv"
    write_table(path, [{"class": label, "count": size} for label, size in counts.items()])
    found, told = drawn(table(), tmp_path, counts=path.name, test=2)
    sizes = found.groupby("split")["class_kind"].value_counts()
    assert sizes["train"].to_dict() == counts and sizes["test"].to_dict() == {"a": 2, "d": 2}
    assert told["drawn"]["test"]["fewer"] == 0 and told["classes"] == 2
    settings = {"sources": {"s": {"kind": "table", "path": "t.csv"}},
                "long_tail": {"column": "kind", "counts": str(path)}}  # fmt: skip
    assert list(Captions.model_validate(settings).named()) == ["t.csv", str(path)]


# --- what is wrong ----------------------------------------------------------------------------


def refusal(rows: pd.DataFrame, raw: Path = Path(), **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        drawn(rows, raw, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_with_too_few_items(tmp_path: Path) -> None:
    assert refusal(table(), **{**SIZED, "largest": 28}) == (
        "captions.long_tail: the class 'a' needs 28 training items and 3 to validate on, but "
        "has 30 (and 2 more classes lack some): lower largest or val, or get the items that are "
        "missing"
    )
    write_table(tmp_path / "n.csv", [{"class": "e", "count": 1}])
    assert refusal(table(), tmp_path, counts="n.csv") == (
        "captions.long_tail: the class 'e' needs 1 training items, but has 0: lower its count, or "
        "get the items that are missing"
    )


def test_columns_and_classes() -> None:
    assert refusal(table({"a": 0}), **SIZED) == (
        "captions.long_tail: there are no training items; leave out long_tail"
    )
    assert refusal(table(), **SIZED, column="template") == (
        "captions.long_tail.column is 'template': there is no such class column; there are: kind"
    )
    assert refusal(table().drop(columns="class_kind"), **SIZED) == (
        "captions.long_tail.column is 'kind': there is no such class column; there are: none (name "
        "them in class_columns)"
    )
    rows = table()
    rows.loc[3, "class_kind"] = ""
    assert refusal(rows, **SIZED) == (
        "captions.long_tail.column is 'kind': 1 rows have no class; fill in that of 'train/a3' "
        "first"
    )
    rows = table()
    rows.loc[1, ["sample_id"]] = "train/b0"
    assert refusal(rows, **SIZED) == (
        "captions.long_tail.column is 'kind': 'train/b0' has the classes 'a' and 'b'; name a "
        "column in which all captions of an item have one class"
    )
    assert refusal(table().assign(sentence=True), **SIZED) == (
        "captions.long_tail.val and test are of no use where only some captions are sentences "
        "(EPIC-KITCHENS-100): those that remained would have none; set both to null"
    )
    assert len(drawn(table().assign(sentence=True), **{**SIZED, "val": None, "test": None})[0])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", "2"), ("a", "3")], "line 3: the class 'a' stands twice"),
        ([("a", "0")], "line 2: count is '0'; it must be a whole number above 0"),
        ([("a", "2.5")], "line 2: count is '2.5'; it must be a whole number above 0"),
        ([], "has no rows; write a class and its count a row"),
    ],
)
def test_a_table_of_counts_that_is_none(
    tmp_path: Path, rows: list[tuple[str, str]], said: str
) -> None:
    with (tmp_path / "n.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("class", "count"), *rows])
    assert refusal(table(), tmp_path, counts="n.csv") == f"{tmp_path}/n.csv {said}"
    (tmp_path / "m.csv").write_text("class,number\na,1\n")
    assert refusal(table(), tmp_path, counts="m.csv") == (
        f"{tmp_path}/m.csv has no column 'count'; it has 'class', 'number'"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "neither of counts and ratio is set; set one of them"),
        ({"counts": "ssv2_lt", "ratio": 2.0}, "both of counts and ratio is set; set one of them"),
        ({"counts": "ssv2_lt", "largest": 2}, "largest is 2 but counts says how many"),
    ],
)
def test_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LongTail.model_validate({"column": "kind", **settings})
