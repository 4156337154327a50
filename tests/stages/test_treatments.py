"""Every method of the project's own params.yaml goes through shift, train and evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from mmts.config import TrainStage, load
from mmts.shards import ShardReader
from mmts.shift import cluster_shift
from tests.conftest import CELL, Project

ROOT = Path(__file__).parents[2]
METHODS: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "params.yaml")["methods"]
SEED = ("--seed", "0")
KEYS = {  # of state.safetensors, beside the shift table of `scheduled`
    "clip": {"modulator.log_scale"},
    "siglip": {"modulator.log_scale", "objective.bias"},
    "cyclip": {"modulator.log_scale"},
    "sogclr": {"objective.log_u_v2t", "objective.seen_t2v", "modulator.shift_of"},
    "isogclr": {"objective.log_u_v2t", "modulator.tau_v2t", "modulator.momentum_t2v"},
    "tempnet": {"objective.log_u_v2t", "modulator.text.prototypes", "modulator.vision.a"},
}


def use(project: Project, name: str, **changes: Any) -> dict[str, Any]:
    """Put a method of params.yaml into the tiny project."""
    method = {**METHODS[name], **changes}
    if isinstance(method["clustering"], dict):
        method["clustering"] = {"shift": "default", "relevancy": ["kinds"]}
    elif method["clustering"] != "default":
        method["clustering"] = "kinds"
    project.set(**{f"methods__{name}": method, f"datasets__tiny__methods__{name}": {}})
    return method


@pytest.mark.parametrize("name", list(METHODS))
def test_it_goes_through(project: Project, name: str) -> None:
    use(project, name)
    for stage, *more in (("shift",), ("train", *SEED), ("evaluate", *SEED)):
        ran = project.run(stage, *CELL, name, *more)
        assert (ran.code, ran.err) == (0, ""), ran
        assert ran.out.startswith("auto: ") == (stage != "evaluate" and name.endswith("_auto"))
    cell = project.root / f"data/train/tiny/{name}/0"
    facts = json.loads((cell / "run.json").read_text())
    method = load(TrainStage, project.root / "params.yaml", dataset="tiny", method=name).method
    assert method.numbers().items() <= facts.items()
    assert isinstance(facts["objective"], str) and isinstance(facts["modulator"], str)
    state = load_file(cell / "state.safetensors")
    assert KEYS.get(name, {"modulator.shift_of"}) <= set(state)
    curves = pd.read_csv(cell / "curves.csv")
    assert (curves["tau_min"] <= curves["tau_max"] + 1e-9).all() and curves["loss"].notna().all()


def test_auto_says_what_it_chose(project: Project) -> None:
    use(project, "info_nce_auto")
    said = project.run("shift", *CELL, "info_nce_auto").out.splitlines()[0]
    assert said == "auto: shift_min 0.0525, shift_max 0.0875 (tau_default 0.07)"
    said = project.run("train", *CELL, "info_nce_auto", *SEED).out.splitlines()[0]
    assert said == "auto: alpha 0.07, shift_min 0.0525, shift_max 0.0875 (tau_default 0.07)"
    facts = json.loads((project.root / "data/train/tiny/info_nce_auto/0/run.json").read_text())
    assert (facts["alpha"], facts["shift_min"]) == (0.07, pytest.approx(0.0525))


def test_a_mapping_reaches_the_shift_table(project: Project) -> None:
    for mapping in ("linear", "log", "rank"):
        use(project, "info_nce_log", shift_mapping=mapping)
        assert project.run("shift", *CELL, "info_nce_log").code == 0
        table = pd.read_parquet(project.root / "data/shift/tiny/info_nce_log/shift.parquet")
        size = table["cluster_size"]
        wanted = cluster_shift(
            size, size_min=size.min(), size_max=size.max(), shift_min=0.05, shift_max=0.09,
            mapping=mapping, sizes=size,
        )  # fmt: skip
        assert table["shift"].tolist() == pytest.approx(list(wanted))  # type: ignore[arg-type]


def test_relevancy_columns(project: Project) -> None:
    data = project.root / "data"
    name = "max_margin_relevant"
    kinds = pd.read_parquet(data / "cluster/tiny/kinds.parquet")
    packed = pd.read_parquet(data / "cluster/tiny/default.parquet")
    use(project, name)
    assert project.run("shift", *CELL, name).code == 0
    found = pd.read_parquet(data / f"shift/tiny/{name}/clusters.parquet")
    assert list(found.columns) == ["caption_id", "class_kinds"]
    assert found["class_kinds"].tolist() == kinds["cluster_id"].tolist()
    method = {**METHODS[name], "clustering": {"shift": "kinds", "relevancy": ["default", "kinds"]}}
    project.set(**{f"methods__{name}": method, f"datasets__tiny__methods__{name}": {}})
    assert project.run("shift", *CELL, name).code == 0
    found = pd.read_parquet(data / f"shift/tiny/{name}/clusters.parquet")
    assert list(found.columns) == ["caption_id", "cluster_id", "class_default", "class_kinds"]
    assert found["cluster_id"].tolist() == kinds["cluster_id"].tolist()
    assert found["class_default"].tolist() == packed["cluster_id"].tolist()


def test_relevant_pairs_are_no_negatives(project: Project) -> None:
    """Every pair shares one of two clusterings: a relevancy of 0.5 or 1, so never a negative."""
    both = {"shift": "default", "relevancy": ["one", "kinds"]}
    project.set(
        datasets__tiny__clusterings__one={"kind": "kmeans", "k": 1},
        **{f"methods__at_{n}": {**METHODS["max_margin_relevant"], "clustering": both,
                                "relevancy_threshold": n / 10} for n in (4, 5)},
        **{f"datasets__tiny__methods__at_{n}": {} for n in (4, 5)},
    )  # fmt: skip
    assert project.run("cluster", "--dataset", "tiny").code == 0
    losses = {}
    for name in ("at_4", "at_5"):
        assert project.run("shift", *CELL, name).code == 0
        assert project.run("train", *CELL, name, *SEED).code == 0
        curves = pd.read_csv(project.root / f"data/train/tiny/{name}/0/curves.csv")
        losses[name] = curves["loss"].tolist()
    assert losses["at_4"] == [0.0] * 4
    assert min(losses["at_5"]) > 0.05  # strictly above: those of one kind alone are left out


def test_individual_taus_move_from_the_shift_of_their_cluster(project: Project) -> None:
    use(project, "isogclr", shift_min=0.04, shift_max=0.1)
    assert project.run("shift", *CELL, "isogclr").code == 0
    assert project.run("train", *CELL, "isogclr", *SEED).code == 0
    data = project.root / "data"
    shift = pd.read_parquet(data / "shift/tiny/isogclr/shift.parquet")
    shift_of = dict(zip(shift["cluster_id"], shift["shift"], strict=True))
    samples = ShardReader(data / "shards/tiny", "train").samples
    start = torch.tensor([shift_of[sample["cluster_id"][0]] for sample in samples])
    state = load_file(data / "train/tiny/isogclr/0/state.safetensors")
    moved = state["modulator.tau_v2t"] - start.float()
    assert moved.abs().max() > 1e-3
    # two epochs, each moving a tau by at most the rate times the clipped gradient
    assert moved.abs().max() < 2 * 0.01 * 5 and state["objective.seen_v2t"].all()
    captions = sum(len(sample["cluster_id"]) for sample in samples)
    assert captions > len(samples)
    for name in ("objective.log_u", "objective.top", "modulator.tau", "modulator.momentum"):
        assert state[f"{name}_v2t"].shape == (len(samples),)
        assert state[f"{name}_t2v"].shape == (captions,)
    # each item has one caption an epoch: two epochs cannot have shown all of those with three
    assert len(samples) <= state["objective.seen_t2v"].sum() <= 2 * len(samples)
