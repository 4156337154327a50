"""The omni-modal model the whole way, on videos made here: frames, sound, subtitles, matching."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.making_dishes import write_dishes
from tests.pipeline.project import Project, commit, copy_project, only

pytestmark = pytest.mark.long
SEEDS = (0, 1, 2)
TRAIN = {"epochs": 10, "batch_size": 20, "learning_rate": 3e-3}


def tiny(tree: Any) -> None:
    """Let params.yaml be of the dataset alone, with a tiny random model."""
    (dataset,) = only(tree, "youcook2")
    dataset["captions"]["sources"]["youcook2"]["subtitles"] = ["subtitles.csv"]
    dataset["clusterings"]["default"]["k"] = 4
    dataset["streams"]["audio"]["mel_bins"] = 16
    dataset["streams"]["subtitle"]["max_tokens"] = 12
    dataset["model"] = {
        "kind": "omni", "weights": "random", "dim": 32,
        "audio": {"shape": "tiny", "layer_drop": 0.0, "gradient_decay": 1.0},
    }  # fmt: skip
    more = {"weights": "random", "shape": "tiny", "gradient_checkpointing": False}
    dataset["towers"]["vision"].update(
        more, image_size=32, clip_length=2, test_clip_length=4, drop_path=0.0
    )
    dataset["towers"]["text"].update(more, tokenizer=None, max_tokens=12)
    dataset["pack"].update(image_size=32, frame_rate=None, workers=2)
    dataset["train"].update(
        TRAIN, learning_rates={"vision.*": 3e-3}, warmup_steps=6, log_every=5, workers=0,
        device="cpu", precision="fp32",
    )  # fmt: skip
    dataset["evaluate"].update(batch_size=24, bootstrap=100, examples=2, workers=0)
    dataset["evaluate"]["rerank"]["candidates"] = 4
    tree["grid"] = {"datasets": ["youcook2"], "methods": ["vast_mmts"], "seeds": list(SEEDS)}
    tree["report"].update(bootstrap=100, tsne_points=60, tsne_perplexity=5.0, examples=1)


@pytest.fixture(scope="module")
def dishes(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """The project with 24 videos as its data, run once."""
    project = copy_project(tmp_path_factory.mktemp("dishes"))
    project.use(warm_commands)
    write_dishes(project.folder / "data/raw/youcook2", silent=21, mute=2)
    tree = project.params()
    tiny(tree)
    YAML().dump(tree, project.folder / "params.yaml")
    commit(project)
    project.repro()
    return project


def metrics(project: Project, seed: int) -> dict[str, float]:
    path = project.folder / f"data/evaluate/youcook2/vast_mmts/{seed}/metrics.json"
    found: dict[str, float] = json.loads(path.read_text())["youcook2"]
    return found


def test_it(dishes: Project) -> None:
    for seed in SEEDS:
        m = metrics(dishes, seed)
        print(
            seed,
            {
                k: round(m[k], 3)
                for k in ("t2v/R@1", "v2t/R@1", "t2v/R@5", "rerank/t2v/R@1", "rerank/v2t/R@1")
            },
        )
    assert 0
