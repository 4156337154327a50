"""Images that are listed and not there: counted a split, dropped, and not called bad."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmts.captions import build
from mmts.cluster import Clusters
from mmts.embeddings import Embeddings
from mmts.errors import InputError
from mmts.kinds.clustering.column import Kind as Column
from mmts.settings.sources import Captions
from mmts.sources.coverage import coverage_line
from tests.conftest import Project
from tests.making import PARAMS, write_params, write_picture, write_plan
from tests.sources.making_img2dataset import listed, write_output, write_tar
from tests.sources.test_karpathy import coco_images, write_coco

DEAD = (1, 6, 7)


def by_column(column: str, rows: pd.DataFrame) -> Clusters:
    nothing = np.empty((0, 1), np.float32)
    embeddings = Embeddings(nothing, np.empty(0, np.int64), None, None)
    return Column(kind="column", column=column).cluster(rows, embeddings)


def made(raw: Path, **sources: dict[str, Any]):  # type: ignore[no-untyped-def]
    return build(Captions.model_validate({"sources": sources}), raw, raw, Path("data/captions/x"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """cc3m: train 7 of 10, val 3 of 3; coco: all five images."""
    write_output(tmp_path / "train", listed(10, DEAD))
    write_output(tmp_path / "val", listed(3))
    write_coco(tmp_path)
    for n, image in enumerate(coco_images()):
        write_picture(tmp_path / "images" / image["filepath"] / image["filename"], n)
    return tmp_path


def planned(root: Path, sources: dict[str, Any]) -> None:
    """params.yaml with a dataset `x` of these sources alone, and its plan."""
    changes = {
        "grid": {"datasets": ["x"], "methods": ["base"], "seeds": [0]},
        "datasets": {"x": {"captions": {"sources": sources}}},
    }
    write_params(root / "params.yaml", PARAMS, changes)
    write_plan(root)


CC3M = {"kind": "cc3m", "train": {"images": "train"}, "val": {"images": "val"}}
COCO = {"kind": "coco", "splits": ["test"]}


@pytest.mark.filterwarnings("ignore:.*Karpathy's file")
def test_trained_on_one_source_evaluated_on_another(raw: Path) -> None:
    found = made(raw, cc3m=CC3M, coco=COCO)
    assert found.summary["sources"]["cc3m"]["coverage"] == {
        "train": {"listed": 10, "there": 7}, "val": {"listed": 3, "there": 3},
    }  # fmt: skip
    assert found.summary["sources"]["coco"]["coverage"] == {"test": {"listed": 2, "there": 2}}
    assert found.summary["media"] == {"train": 7, "val": 3, "test": 2}
    assert found.summary["rows"] == {"train": 7, "val": 3, "test": 11}
    assert found.summary["dropped"] == {"missing (failed_to_download)": 3}
    assert found.dropped["row"].tolist() == list(DEAD)
    where = found.rows.groupby("split")["source"].unique().map(list).to_dict()
    assert where == {"train": ["cc3m"], "val": ["cc3m"], "test": ["coco"]}
    assert "lacks" not in found.rows


def test_cluster_sizes_are_those_of_the_rows_that_survive(raw: Path) -> None:
    rows = made(raw, cc3m={**CC3M, "test": {"images": "val"}}).rows
    numbers = rows["sample_id"].str[-1].astype(int)
    rows["class_half"] = np.where(numbers < 5, "low", "high")
    table = by_column("half", rows).table
    size = dict(zip(table["caption_id"], table["cluster_size"], strict=True))
    assert size["cc3m/train/000000000#0"] == 4  # 0, 2, 3, 4 of the listed 0 to 4
    assert size["cc3m/train/000000009#0"] == 3  # 5, 8, 9 of the listed 5 to 9


def test_below_the_least_coverage(raw: Path) -> None:
    both = {**CC3M, "test": {"images": "val"}}
    assert made(raw, cc3m={**both, "min_coverage": 0.7})
    with pytest.raises(InputError) as caught:
        made(raw, cc3m={**both, "min_coverage": 0.71})
    assert str(caught.value) == (
        "source cc3m train: 7 of 10 listed images are there (70.0 %), below min_coverage 0.71; the "
        "first is cc3m/train/000000001 (missing (failed_to_download)): get the others, or lower "
        "min_coverage"
    )


def test_what_the_records_know_is_refused_before_a_picture_is_read(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmts.captions.look", lambda *_: pytest.fail("pictures were read"))
    with pytest.raises(InputError, match=r"7 of 10 .* below min_coverage 0\.71"):
        made(raw, cc3m={**CC3M, "min_coverage": 0.71})


def test_what_the_stage_prints(
    raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = {"cc3m": {**CC3M, "train": {"images": str(raw / "train")}}}
    sources["cc3m"]["val"] = {"images": str(raw / "val")}
    planned(raw, sources)
    monkeypatch.chdir(raw)
    ran = Project(raw, capsys.readouterr).run("captions", "--dataset", "x")
    assert (ran.code, ran.err) == (0, "")
    assert "train: 7 captions of 7 pictures\n" in ran.out
    assert (
        "cc3m train: 7 of 10 listed images are there (70.0 %)\n"
        "cc3m val: 3 of 3 listed images are there (100.0 %)\n"
        "val: 2 of 3 pictures are identical to one of train "
        "('cc3m/val/000000000' to 'cc3m/train/000000000')\n"
        "dropped: 3 rows, missing (failed_to_download) (listed in data/captions/x/dropped.parquet)"
    ) in ran.out


def test_what_was_never_tried_is_listed_too(raw: Path) -> None:
    (raw / "a.tsv").write_text("".join(f"c\thttp://x/{n}\n" for n in range(14)))
    part = {"images": "train", "tsv": "a.tsv"}
    found = made(raw, cc3m={**CC3M, "train": part, "test": {"images": "val"}})
    assert found.summary["sources"]["cc3m"]["coverage"]["train"] == {"listed": 14, "there": 7}


def test_a_member_that_is_not_in_the_tar_is_missing_and_not_bad(raw: Path) -> None:
    write_tar(
        raw / "val/00000.tar", {"000000000.jpg": write_picture(raw / "x.jpg", 1).read_bytes()}
    )
    both = {**CC3M, "test": {"images": "train"}, "min_coverage": 0.3}
    found = made(raw, cc3m=both).summary
    assert found["sources"]["cc3m"]["coverage"]["val"] == {"listed": 3, "there": 1}
    assert found["dropped"] == {"missing": 2, "missing (failed_to_download)": 6}


def test_a_picture_that_is_there_and_damaged_is_bad(raw: Path) -> None:
    write_output(raw / "files", listed(4), tars=False)
    (raw / "files/00000/000000002.jpg").write_bytes(b"no picture")
    both = {**CC3M, "val": {"images": "files"}, "test": {"images": "val"}}
    with pytest.raises(InputError, match=r"1 of 14 pictures are bad, above max_bad_share 0\.0"):
        made(raw, cc3m=both)


@pytest.mark.filterwarnings("ignore:.*Karpathy's file")
def test_a_complete_dataset_with_an_image_less(raw: Path) -> None:
    (raw / "images/val2014/COCO_val2014_000000000003.jpg").unlink()
    with pytest.raises(InputError) as caught:
        made(raw, cc3m=CC3M, coco=COCO)
    assert str(caught.value).startswith(
        "source coco test: 1 of 2 listed images are there (50.0 %), below min_coverage 1.0; the "
        f"first is coco/000000000003 (missing, looked for as {raw}/images/val2014/"
        "COCO_val2014_000000000003.jpg): get"
    )
    found = made(raw, cc3m=CC3M, coco={**COCO, "min_coverage": 0.5})
    assert found.summary["media"]["test"] == 1


def test_captions_alone_have_no_coverage(raw: Path) -> None:
    (raw / "five.txt").write_text("a man\n" * 5)
    alone = {"kind": "flickr30k", "captions": "five.txt", "images": None, "splits": ["test"]}
    found = made(raw, cc3m=CC3M, flickr=alone)
    assert "coverage" not in found.summary["sources"]["flickr"]
    test = found.rows[found.rows["split"] == "test"]
    assert set(test["media"]) == {""} and set(test["media_bytes"]) == {0} and len(test) == 5


def test_empty_captions_are_dropped_and_their_images_are_there(raw: Path) -> None:
    rows = listed(3)
    rows.loc[1, "caption"] = " "
    rows.loc[2, "caption"] = None
    rows.to_parquet(raw / "val/00000.parquet")
    found = made(raw, cc3m={**CC3M, "test": {"images": "train"}}).summary
    assert found["dropped"]["empty caption"] == 2 and found["rows"]["val"] == 1
    assert found["sources"]["cc3m"]["coverage"]["val"] == {"listed": 3, "there": 3}


def test_a_split_that_no_source_gives_may_be_lacking_and_only_then(raw: Path) -> None:
    assert made(raw, cc3m=CC3M).summary["rows"]["test"] == 0  # cc3m has no test split
    write_output(raw / "empty", listed(4, (0, 1, 2, 3)))
    with pytest.raises(InputError, match="split train has no rows"):
        made(raw, cc3m={**CC3M, "train": {"images": "empty"}, "min_coverage": 0.0})


@pytest.mark.parametrize(
    ("there", "listed", "share"),
    [(2_300_123, 3_318_333, "69.3"), (2999, 3000, "99.9"), (3, 3, "100.0"), (0, 4, "0.0")],
)
def test_the_line(there: int, listed: int, share: str) -> None:
    assert coverage_line("cc3m", "train", listed, there) == (
        f"cc3m train: {there:,} of {listed:,} listed images are there ({share} %)"
    )


@pytest.mark.filterwarnings("ignore:.*Karpathy's file")
def test_images_without_captions_are_printed_and_kept(
    raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = coco_images()
    images[3]["sentences"] = []
    write_coco(raw, images)
    folder = raw.parent / "project/data/raw"
    folder.mkdir(parents=True)
    (folder / "x").symlink_to(raw)
    sources = {"cc3m": CC3M, "coco": COCO}
    root = raw.parent / "project"
    monkeypatch.chdir(root)
    planned(root, sources)
    ran = Project(root, capsys.readouterr).run("captions", "--dataset", "x")
    assert ran.code == 0, ran.err
    assert "coco test: images left out because they have no caption: 1\n" in ran.out
    summary = json.loads(Path("data/captions/x/summary.json").read_text())
    assert summary["sources"]["coco"]["uncaptioned"] == {"test": 1}
