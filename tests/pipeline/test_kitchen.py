"""EPIC-KITCHENS-100 the whole way, on videos made here: `dvc repro` from CSV and mp4 to tables."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from tests.making_kitchen import write_kitchen
from tests.pipeline.project import Project, commit, copy_project

CELL = "data/evaluate/ek100/max_margin_mmts/0"


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with 20 videos as its data, run once."""
    project = copy_project(tmp_path_factory.mktemp("kitchen"))
    write_kitchen(project.folder / "data/raw/ek100")
    tree = project.params()
    tree["grid"] = {
        "datasets": ["ek100"], "methods": ["max_margin", "max_margin_mmts"], "seeds": [0],
    }  # fmt: skip
    dataset = tree["datasets"]["ek100"]
    dataset["captions"]["sources"]["ek100"]["val_share"] = 0.13
    dataset["towers"]["vision"].update(
        weights="random", image_size=32, clip_length=4, drop_path=0.0,
        shape={"patch_size": 8, "width": 64, "layers": 2, "heads": 4, "dim": 32},
    )  # fmt: skip
    dataset["towers"]["text"].update(
        weights="random", tokenizer=None,
        shape={"context": 16, "width": 64, "layers": 2, "heads": 4, "dim": 32},
    )  # fmt: skip
    dataset["pack"].update(image_size=40, frame_rate=None, workers=2)
    dataset["train"].update(
        epochs=30, batch_size=28, learning_rate=2e-3, min_learning_rate=0.0, warmup_from=0.0,
        warmup_steps=10, log_every=1, validate_every=10, workers=0, device="cpu",
    )  # fmt: skip
    dataset["evaluate"].update(batch_size=16, bootstrap=100, examples=2, workers=0)
    tree["report"].update(bootstrap=100, tsne_points=60, tsne_perplexity=5.0, examples=1)
    YAML().dump(tree, project.folder / "params.yaml")
    commit(project)
    project.repro()
    return project


def test_map_is_clearly_above_chance(kitchen: Project) -> None:
    print((kitchen.folder / CELL / "metrics.json").read_text()[:2000])
