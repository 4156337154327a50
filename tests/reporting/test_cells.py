"""Reading the cells: what is missing or does not fit is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmts.errors import InputError
from mmts.reporting.cells import Dataset
from mmts.reporting.markdown import markdown
from mmts.reporting.read import CURVES
from mmts.reporting.report import Report
from mmts.reporting.tables import overall_table
from mmts.reporting.words import notes
from mmts.training.log import COLUMNS


@pytest.mark.parametrize(
    "file",
    [
        "evaluate/open/mmts/1/queries.parquet",
        "evaluate/open/margin/2/retrievals.json",
        "train/open/plain/0/run.json",
        "shift/open/mmts/shift.parquet",
        "embed/open/caption_text.npy",
    ],
)
def test_a_missing_file_is_named_with_the_remedy(
    tree: SimpleNamespace, data: SimpleNamespace, tmp_path: Path, file: str
) -> None:
    shutil.copytree(data.folder, tmp_path / "data")
    (tmp_path / "data" / file).unlink()
    with pytest.raises(InputError) as error:
        tree.loaded(tmp_path / "data", "open")
    assert file in str(error.value)
    assert "dvc repro" in str(error.value)
    assert "\n" not in str(error.value)


def test_cells_that_the_grid_does_not_name_are_not_read(
    tree: SimpleNamespace, data: SimpleNamespace, tmp_path: Path
) -> None:
    shutil.copytree(data.folder, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/evaluate/open/mmts/2")
    dataset = tree.loaded(tmp_path / "data", "open", seeds=(0, 1))
    assert sorted(dataset.cells) == [(m, s) for m in ("margin", "mmts", "plain") for s in (0, 1)]


def test_cells_evaluated_on_other_sources_are_refused(
    tree: SimpleNamespace, data: SimpleNamespace, tmp_path: Path
) -> None:
    shutil.copytree(data.folder, tmp_path / "data")
    (tmp_path / "data/evaluate/open/mmts/2/metrics.json").write_text(json.dumps({"coco": {}}))
    with pytest.raises(InputError, match="mmts seed 2 was evaluated on"):
        tree.loaded(tmp_path / "data", "open")


def test_cells_that_were_measured_otherwise_are_refused(
    tree: SimpleNamespace, data: SimpleNamespace, tmp_path: Path
) -> None:
    shutil.copytree(data.folder, tmp_path / "data")
    other = {"measure": {"kind": "recall", "ks": [1, 7]}, "rerank": None}
    of = tmp_path / "data/evaluate/open"
    (of / "mmts/2/measure.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="mmts seed 2 was not measured by what plain seed 0 was"):
        tree.loaded(tmp_path / "data", "open")
    for path in of.glob("*/*/measure.json"):
        path.write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"plain/0/metrics.json lacks t2v/R@7 of main; run `dvc"):
        tree.loaded(tmp_path / "data", "open")


def test_the_baseline_is_the_first_method_with_the_same_quantity(
    dataset: Dataset, many: Report
) -> None:
    assert [dataset.baseline(method) for method in dataset.methods] == ["plain", "plain", "margin"]
    found = {method: many.dataset.baseline(method) for method in many.dataset.methods}
    margins = [method for method, baseline in found.items() if baseline == "margin"]
    assert margins == ["margin", "margin_mmts"]
    assert set(found.values()) == {"plain", "margin"}


def test_what_is_learned_and_its_logged_values(many: Report) -> None:
    dataset = many.dataset
    learned = [method for method in dataset.methods if dataset.learned(method)]
    assert learned == ["sigmoid", "cyclip", "individual"]
    logged = dataset.logged_tau("individual")
    assert logged.index.tolist() == list(range(0, 40, 2))
    # tau 0.05 (1 - step / 80) + seed / 1000, from 0.01 below to 0.02 above, means over seeds 0 to 2
    assert logged.loc[20].tolist() == pytest.approx([0.0285, 0.0385, 0.0585])


def test_a_dataset_is_publishable_only_if_all_its_sources_are(
    tree: SimpleNamespace, tmp_path: Path
) -> None:
    tree.write(tmp_path, "two", sources=("a", "b"))
    assert tree.loaded(tmp_path, "two").publishable
    file = tmp_path / "captions/two/summary.json"
    summary = json.loads(file.read_text())
    summary["sources"]["b"]["publishable"] = False
    file.write_text(json.dumps(summary))
    assert not tree.loaded(tmp_path, "two").publishable


@pytest.mark.parametrize("publishable", [True, False])
def test_pictures_that_repeat_others_are_told_of(
    tree: SimpleNamespace, tmp_path: Path, publishable: bool
) -> None:
    tree.write(tmp_path, "one", publishable=publishable)
    file = tmp_path / "captions/one/summary.json"
    summary = json.loads(file.read_text())
    summary["sources"]["main"] |= {"merged": 244, "uncaptioned": {"test": 2, "val": 1}}
    repeat = {"split": "test", "pictures": 98, "of": 626, "example": ["a_<b>.png", "b.png"]}
    summary["repeats"] = [{**repeat, "also_in": "train"}, {**repeat, "also_in": "test"}]
    file.write_text(json.dumps(summary))
    dataset = tree.loaded(tmp_path, "one")
    whole = notes(dataset, 100, names=True)
    assert "244 pictures with the same bytes as another became one item with it." in whole
    assert "3 listed images without a caption left out." in whole
    line = "Test: 98 of 626 pictures are identical to one of train"
    assert f"{line} ('a_<b>.png' to 'b.png'); recall may be too high." in whole
    assert f"{line}; recall may be too high." in notes(dataset, 100)
    assert any(n.endswith("they cannot be told apart, so recall is too low.") for n in whole)
    text = markdown(
        dataset, [(overall_table(dataset, "main", resamples=20, seed=0),)], (), resamples=20
    )
    assert line in text and ("a\\_\\<b>.png" in text) == publishable


def test_items_without_a_stream_and_a_smaller_gallery(
    tree: SimpleNamespace, tmp_path: Path
) -> None:
    tree.write(tmp_path, "one")
    assert overall_table(tree.loaded(tmp_path, "one"), "main", resamples=20, seed=0).title == (
        "All queries"
    )
    summary = tmp_path / "captions/one/summary.json"
    facts = json.loads(summary.read_text())
    facts["sources"]["main"]["official"] = {"train": 5000, "test": 3491}
    summary.write_text(json.dumps(facts))
    first = {"reasons": {"no sound track": 1}, "first": ["a/b_1_2", "a/c_1_2"]}
    empty = {
        "audio": {"train": {"items": 1, **first}, "test": {"items": 116, **first}},
        "subtitle": {"test": {"items": 216, **first}}, "unread": {"test": {"items": 3, **first}},
    }  # fmt: skip
    manifest = {"samples": {"train": 9283, "val": 0, "test": 3216}, "empty": empty}
    (tmp_path / "shards/one/manifest.json").write_text(json.dumps(manifest))
    kinds = {"audio": {"kind": "audio"}, "subtitle": {"kind": "text"}}
    for file in tmp_path.glob("train/one/*/*/model.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "streams": kinds}))
    dataset = tree.loaded(tmp_path, "one")
    said = notes(dataset, 100)
    assert (
        "1 of 9,283 train pictures have no sound (first: a/b_1_2), 116 of 3,216 test pictures have "
        "no sound (first: a/b_1_2), 216 of 3,216 test pictures have no subtitle (first: a/b_1_2). "
        "None leaves the gallery for it."
    ) in said
    assert "main: a gallery of 20 of 3,491 test items; numbers of another gallery do not compare." \
        in said  # fmt: skip
    table = overall_table(dataset, "main", resamples=20, seed=0)
    assert table.title == "All queries, gallery of 20 of 3,491 test items"
    text = markdown(dataset, [(table,)], (), resamples=20)
    assert "Gallery of 20 of 3,491 test items, 40 text queries" in text


def test_a_long_tail_is_told_of(tree: SimpleNamespace, tmp_path: Path) -> None:
    tree.write(tmp_path, "one")
    assert not any("long tail was" in note for note in notes(tree.loaded(tmp_path, "one"), 100))
    file = tmp_path / "captions/one/summary.json"
    summary = json.loads(file.read_text())
    drawn = {
        "train": {"items": 50_418, "pool": "train", "of": 168_913},
        "val": {"items": 6_960, "pool": "train", "of": 168_913, "each": 40, "fewer": 0},
        "test": {"items": 2_609, "pool": "test", "of": 24_777, "each": 15, "fewer": 1},
    }
    told = {
        "column": "template", "counts": "ssv2_lt", "seed": 3, "classes": 174, "largest": 2500,
        "smallest": 5, "drawn": drawn,
    }  # fmt: skip
    file.write_text(json.dumps({**summary, "long_tail": told}))
    assert (
        "A long tail was drawn by template with seed 3 (174 classes of 2,500 to 5 pictures, the "
        "published counts of SSv2-LT): 50,418 of 168,913 train pictures; 6,960 of 168,913 train "
        "pictures for val, 40 a class; 2,609 of 24,777 test pictures, 15 a class (fewer in 1). The "
        "pictures themselves differ from the published ones."
    ) in notes(tree.loaded(tmp_path, "one"), 100)


def test_the_report_knows_the_columns_that_training_logs() -> None:
    assert set(CURVES) <= set(COLUMNS)
