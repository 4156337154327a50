"""A tower of one file: what it gives is what the heads are trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.examples.adding import module_of, tiny
from tests.pipeline.project import Project

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """The pipeline with the tower, after a run."""
    project = tiny(tmp_path_factory.mktemp("tower"), "colour_grid", methods=["info_nce"])
    project.set(datasets__my_pairs__train__epochs=20)
    project.use(warm_commands)
    project.repro()
    return project


def test_means_of_cells_by_hand() -> None:
    kind = module_of("colour_grid").Kind(name="colour_grid", image_size=32, cells=2)
    tower = kind.build()
    picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    picture[0, 1, :16, 16:] = 255  # green, top right
    assert tower.dim == 12 and tower(picture).tolist() == [[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]]


def test_the_model_is_of_it(project: Project) -> None:
    run = project.folder / "data/train/my_pairs/info_nce"
    model = json.loads((run / "0/model.json").read_text())
    assert model["towers"]["vision"] == {
        "name": "colour_grid", "weights": "random", "frozen": False, "image_size": 32, "cells": 2,
    }  # fmt: skip
    assert "mmts.kinds.vision.colour_grid" in json.loads((run / "plan.json").read_text())["kinds"]
    metrics = project.folder / "data/evaluate/my_pairs/info_nce/0/metrics.json"
    (found,) = json.loads(metrics.read_text()).values()
    assert found["t2v/R@5"] > 0.5
    assert "info\\_nce" in (project.folder / "results/my_pairs.md").read_text()


def test_an_edit_of_it_trains_again_and_embeds_nothing(project: Project) -> None:
    project.edit("mmts/kinds/vision/colour_grid.py", "pictures.float() / 255", "pictures.float()")
    cell = "my_pairs-info_nce"
    assert project.repro(f"evaluate@{cell}") == {f"train@{cell}", f"evaluate@{cell}"}
