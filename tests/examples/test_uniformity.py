"""A second loss term, as one file and a line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.examples.adding import tiny
from tests.pipeline.project import Project

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    found = tiny(
        tmp_path_factory.mktemp("uniformity"), "uniformity",
        methods=["info_nce", "info_nce_mmts", "info_nce_uniform"],
    )  # fmt: skip
    found.use(warm_commands)
    found.repro()
    return found


def test_the_log_has_its_value(project: Project) -> None:
    logged = pd.read_csv(project.folder / "data/train/my_pairs/info_nce_uniform/0/curves.csv")
    found = logged.dropna(subset=["loss"])
    np.testing.assert_allclose(found["loss"], found["info_nce"] + 0.5 * found["uniformity"])
    assert (found["uniformity"] < 0).all() and len(found) == 2
    plain = pd.read_csv(project.folder / "data/train/my_pairs/info_nce_mmts/0/curves.csv")
    assert "uniformity" not in plain and plain["loss"].iloc[0] == found["info_nce"].iloc[0]


def test_curves_and_plots_have_it(project: Project) -> None:
    terms = pd.read_csv(project.folder / "results/terms.csv")
    by_method = terms.groupby("method")["name"].unique().map(list).to_dict()
    assert by_method["info_nce_uniform"] == ["info_nce", "uniformity"]
    assert by_method["info_nce"] == by_method["info_nce_mmts"] == ["info_nce"]
    assert "uniformity" in pd.read_csv(project.folder / "results/curves.csv")


def test_the_page_has_it(project: Project) -> None:
    page = (project.folder / "results/my_pairs.md").read_text()
    row, *_ = re.findall(r"^\| info\\_nce\\_uniform \| ([^|]*) \|", page, re.MULTILINE)
    assert row.startswith("InfoNCE, τ ") and row.endswith(", plus 0.5 × uniformity")
    (alt,) = re.findall(r"!\[(Training curves[^\]]*)\]", page)
    assert re.search(r"info\\_nce\\_uniform: loss from [\d.]+ to [\d.]+, uniformity from -", alt)
    assert (project.folder / "results/figures/my_pairs-training.png").exists()
