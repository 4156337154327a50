"""Reading the cells: what is missing or does not fit is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmts.errors import InputError
from mmts.reporting.cells import Dataset


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


def test_the_baseline_is_the_first_method_with_the_same_objective(dataset: Dataset) -> None:
    assert [dataset.baseline(method) for method in dataset.methods] == ["plain", "plain", "margin"]


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
