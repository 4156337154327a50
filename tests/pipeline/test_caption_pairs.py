"""CC3M to COCO and Flickr30K, and Flickr8k with trained towers, the whole way on made-up pictures.

All settings are those of params.yaml but for sizes, local weights and the device.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from mmts.params import read_params
from tests.conftest import Project as Stages
from tests.making import changed, write_sentence_model
from tests.making_objects import THINGS, write_cc3m, write_flickr8k, write_karpathy
from tests.making_transformers import write_distilbert, write_resnet
from tests.pipeline.project import ROOT, Project, commit, copy_project, only

pytestmark = pytest.mark.long
METHODS = ("info_nce", "info_nce_mmts")
QUERIES = {"coco": len(THINGS), "flickr30k": 24}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """`cc3m` with small models that are trained from made-up weights, run once."""
    project = copy_project(tmp_path_factory.mktemp("pairs"))
    project.use(warm_commands)
    models, raw = project.folder / "data/weights", project.folder / "data/raw/cc3m"
    raw.mkdir(parents=True)
    write_cc3m(raw, 320, 40, np.random.default_rng(0))
    write_karpathy(raw, "coco", "images/coco/val2014", THINGS, seed=1)
    write_karpathy(raw, "flickr30k", "images/flickr30k", THINGS[-24:], seed=2)
    tree = project.params()
    tree["grid"] = {"datasets": ["cc3m"], "methods": list(METHODS), "seeds": [0]}
    (dataset,) = only(tree, "cc3m")
    dataset["embed"]["model"] = str(write_sentence_model(models / "sentence"))
    small = {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1]}
    resnet = write_resnet(models / "resnet", layer_type="basic", **small)
    dataset["towers"]["vision"].update(weights=str(resnet), image_size=32)
    bert = write_distilbert(models / "bert", dim=32, hidden_dim=64)
    dataset["towers"]["text"].update(weights=str(bert), max_tokens=12)
    dataset["clusterings"]["default"]["k"] = 12
    dataset["train"].update(
        epochs=12, batch_size=32, learning_rate=5e-3, warmup_steps=8, log_every=5, workers=0,
        device="cpu", precision="fp32",
    )  # fmt: skip
    dataset["evaluate"].update(bootstrap=100, examples=2, workers=0)
    tree["report"].update(bootstrap=100, tsne_points=60, tsne_perplexity=5.0, examples=1)
    YAML().dump(tree, project.folder / "params.yaml")
    commit(project)
    project.repro()
    return project


def test_zero_shot_recall_is_far_above_chance(pairs: Project) -> None:
    for method in METHODS:
        found = pairs.metrics()[f"data/evaluate/cc3m/{method}/0/metrics.json"]
        assert set(found) == set(QUERIES)
        for source, queries in QUERIES.items():
            of = found[source]
            assert of["v2t/queries"] == queries and of["t2v/queries"] == 5 * queries
            for key in ("v2t", "t2v"):  # chance: 1 / queries, and less than 5 / queries
                assert of[f"{key}/R@1"] > 3 / queries, (method, source, key)
                assert of[f"{key}/R@5"] > 2 * 5 / queries, (method, source, key)


def test_pictures_that_are_not_there_count_nowhere(pairs: Project) -> None:
    summary = json.loads((pairs.folder / "data/captions/cc3m/summary.json").read_text())
    coverage = {name: about["coverage"] for name, about in summary["sources"].items()}
    assert coverage["cc3m"]["train"] == {"listed": 320, "there": 288}
    assert coverage["coco"]["test"] == {"listed": 36, "there": 36}
    table = pd.read_parquet(pairs.folder / "data/shift/cc3m/info_nce_mmts/shift.parquet")
    assert table["cluster_size"].sum() == 288
    assert table["shift"].agg(["min", "max"]).tolist() == pytest.approx([0.05, 0.10])


def test_pictures_of_cc3m_stay_in_their_tars(pairs: Project) -> None:
    shards = pairs.folder / "data/shards/cc3m"
    assert [path.name for path in shards.glob("*.tar")] == ["test-000000.tar"]  # plain files
    tars = json.loads((shards / "manifest.json").read_text())["tars"]
    images = "data/raw/cc3m/images"
    assert {name: about["samples"] for name, about in tars.items()} == {
        f"{images}/train/00000.tar": {"train": 288}, f"{images}/val/00000.tar": {"val": 36}
    }  # fmt: skip


def test_the_recipe_is_the_one_of_params_yaml(pairs: Project) -> None:
    cell = pairs.folder / "data/train/cc3m/info_nce_mmts/0"
    run, model = (json.loads((cell / name).read_text()) for name in ("run.json", "model.json"))
    assert run["alpha"] == 0.04 and run["period"] == run["total_steps"] / 5
    assert model["head"] == {"dim": 256, "hidden": None, "dropout": 0.0, "norm": False}
    assert set(model["loaded"]) == {"vision", "text"}
    curves = pd.read_csv(cell / "curves.csv")
    assert curves["tau_min"].min() >= 0.03 - 1e-6 and curves["tau_max"].max() <= 0.12 + 1e-6
    assert curves["learning_rate"].min() < 3e-5


def test_there_is_a_table_for_each_test_source(pairs: Project) -> None:
    text = (pairs.folder / "results/cc3m.md").read_text().replace("\\", "")
    for source, queries in QUERIES.items():
        _, _, part = text.partition(f"## Test source {source}\n")
        assert f"{queries} test items, {5 * queries} text queries" in part
        for method in METHODS:
            found = pairs.metrics()[f"data/evaluate/cc3m/{method}/0/metrics.json"][source]
            row = re.search(rf"^\| {method} \|.*$", part, re.MULTILINE)
            assert row and f"{found['rsum']:.1f}" in row[0]


def test_flickr8k_trains_both_towers(
    tmp_path: Path, sentence_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Fewer and smaller pictures than in params.yaml, and fewer steps; the raw folder is a link."""
    name, key = "flickr8k_trained", "datasets.flickr8k_trained"
    write_flickr8k(tmp_path / "data/raw/flickr8k", 80, np.random.default_rng(0))
    (tmp_path / "data/raw" / name).symlink_to("flickr8k")
    monkeypatch.chdir(tmp_path)
    stages = Stages(tmp_path, capsys.readouterr)
    stages.params = changed(
        read_params(ROOT / "params.yaml"),
        {
            "grid.datasets": [name], "grid.methods": ["info_nce_mmts"], "grid.seeds": [0],
            f"{key}.embed.model": str(sentence_folder), f"{key}.clusterings.default.k": 8,
            f"{key}.towers.vision.image_size": 64, f"{key}.train.epochs": 5,
            f"{key}.train.batch_size": 20, f"{key}.train.warmup_steps": 4,
            f"{key}.train.log_every": 1, f"{key}.train.workers": 0, f"{key}.train.device": "cpu",
            f"{key}.train.precision": "fp32", f"{key}.evaluate.bootstrap": 100,
            f"{key}.evaluate.workers": 0,
        },
    )  # fmt: skip
    stages.set()
    of = ("--dataset", name)
    method = (*of, "--method", "info_nce_mmts")
    for stage, *more in (
        ("captions", *of), ("embed", *of), ("cluster", *of), ("shift", *of), ("pack", *of),
        ("train", *method), ("evaluate", *method),
    ):  # fmt: skip
        ran = stages.run(stage, *more)
        assert ran.code == 0, ran.err
    cell = tmp_path / "data/train" / name / "info_nce_mmts/0"
    loss = pd.read_csv(cell / "curves.csv")["loss"]
    assert len(loss) == 20 and loss[-4:].mean() < loss[:4].mean() - 0.5
    assert json.loads((cell / "model.json").read_text())["loaded"].keys() == {"vision"}
    evaluated = tmp_path / "data/evaluate" / name / "info_nce_mmts/0/metrics.json"
    assert json.loads(evaluated.read_text())["flickr8k"]["t2v/R@5"] > 2.5 * 5 / len(THINGS)
