import csv
from pathlib import Path

import pytest

from mmts.training.log import COLUMNS, RunLog


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "curves.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_a_step(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.point(0, 0, loss=1.5, tau_min=0.1)
        log.point(10, 1, loss=1.25)
        log.point(10, 1, **{"val_t2v_R@1": 0.5})
        log.point(12, 1, val_rsum=2.0)
    found = rows(tmp_path)
    assert list(found[0]) == [*COLUMNS, "val_t2v_R@1", "val_rsum"]
    assert [row["step"] for row in found] == ["0", "10", "12"]
    assert [row["loss"] for row in found] == ["1.5", "1.25", ""]
    assert [row["val_t2v_R@1"] for row in found] == ["", "0.5", ""]
    assert found[2]["val_rsum"] == "2.0" and found[1]["epoch"] == "1"


def test_further_names_are_further_columns(tmp_path: Path) -> None:
    """Of loss terms, and of what else is measured in validation."""
    with RunLog(tmp_path) as log:
        log.point(0, 0, loss=3.0, uniformity=5.0, info_nce=2.5)
        log.point(1, 0, val_accuracy=0.5)
    first, second = rows(tmp_path)
    assert list(first) == [*COLUMNS, "uniformity", "info_nce", "val_accuracy"]
    assert first["uniformity"] == "5.0" and first["val_accuracy"] == ""
    assert second["val_accuracy"] == "0.5" and second["loss"] == ""


def test_nothing_is_written_of_a_run_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunLog(tmp_path) as log:
        log.point(0, 0, loss=1 / 0)
    assert not (tmp_path / "curves.csv").exists()
