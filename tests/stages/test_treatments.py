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

from mmts.config import load
from mmts.shards import ShardReader
from mmts.shift import cluster_shift
from tests.conftest import CELL, Project

ROOT = Path(__file__).parents[2]
METHODS: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "params.yaml")["methods"]
TINY = ("--dataset", "tiny")
KEYS = {  # of state.safetensors, beside the shift table of `scheduled`
    "clip": {"modulator.log_scale"},
    "siglip": {"modulator.log_scale", "objective.bias"},
    "cyclip": {"modulator.log_scale"},
    "vast": {"modulator.tau"},
    "sogclr": {"objective.log_u_v2t", "objective.seen_t2v", "modulator.shift_of"},
    "isogclr": {"objective.log_u_v2t", "modulator.tau_v2t", "modulator.momentum_t2v"},
    "tempnet": {"objective.log_u_v2t", "modulator.text.prototypes", "modulator.vision.a"},
}


def use(project: Project, name: str, **changes: Any) -> None:
    """Put a method of params.yaml, with changes, alone into the grid of the tiny project."""
    method = {**METHODS[name], **changes}
    method.pop("per_dataset", None)
    method.pop("terms", None)  # two towers cannot match: see tests/pipeline/test_dishes.py
    clustering = method.get("clustering", "default")
    if "clustering" not in changes:
        if isinstance(clustering, dict):
            method["clustering"] = {"shift": "default", "relevancy": ["kinds"]}
        elif clustering != "default":
            method["clustering"] = "kinds"
    project.set(**{f"methods__{name}": method, "grid__methods": [name]})


@pytest.mark.parametrize("name", [name for name, of in METHODS.items() if "base" not in of])
def test_it_goes_through(project: Project, name: str) -> None:
    use(project, name)
    for stage, arguments in (
        ("shift", TINY), ("train", (*CELL, name)), ("evaluate", (*CELL, name)),
    ):  # fmt: skip
        ran = project.run(stage, *arguments)
        assert (ran.code, ran.err) == (0, ""), ran
    cell = project.root / f"data/train/tiny/{name}/0"
    facts = json.loads((cell / "run.json").read_text())
    method = load(project.root / "params.yaml").cell("tiny", name)
    assert method.numbers().items() <= facts.items()
    assert isinstance(facts["objective"], str) and isinstance(facts["modulator"], str)
    state = load_file(cell / "state.safetensors")
    assert KEYS.get(name, {"modulator.shift_of"}) <= set(state)
    curves = pd.read_csv(cell / "curves.csv")
    assert (curves["tau_min"] <= curves["tau_max"] + 1e-9).all() and curves["loss"].notna().all()


def test_auto_is_a_number_in_the_plan_and_beside_the_results(project: Project) -> None:
    use(project, "info_nce_auto")
    said = project.run("shift", *TINY).out
    assert said == "info_nce_auto: 4 clusters, shift 0.0525 to 0.0875\n"
    assert project.run("train", *CELL, "info_nce_auto").code == 0
    cell = project.root / "data/train/tiny/info_nce_auto"
    numbers = json.loads((cell / "plan.json").read_text())["settings"]["method"]
    facts = json.loads((cell / "0/run.json").read_text())
    for found in (numbers, facts):
        assert (found["alpha"], found["shift_min"]) == (0.07, pytest.approx(0.0525))


def test_a_mapping_reaches_the_shift_table(project: Project) -> None:
    for mapping in ("linear", "log", "rank"):
        use(project, "info_nce_log", shift=mapping)
        assert project.run("shift", *TINY).code == 0
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
    assert project.run("shift", *TINY).code == 0
    found = pd.read_parquet(data / f"shift/tiny/{name}/clusters.parquet")
    assert list(found.columns) == ["caption_id", "class_kinds"]
    assert found["class_kinds"].tolist() == kinds["cluster_id"].tolist()
    use(project, name, clustering={"shift": "kinds", "relevancy": ["default", "kinds"]})
    assert project.run("shift", *TINY).code == 0
    found = pd.read_parquet(data / f"shift/tiny/{name}/clusters.parquet")
    assert list(found.columns) == ["caption_id", "cluster_id", "class_default", "class_kinds"]
    assert found["cluster_id"].tolist() == kinds["cluster_id"].tolist()
    assert found["class_default"].tolist() == packed["cluster_id"].tolist()


def test_relevant_pairs_are_no_negatives(project: Project) -> None:
    """Every pair shares one of two clusterings: a relevancy of 0.5 or 1, so never a negative."""
    both = {"shift": "default", "relevancy": ["one", "kinds"]}
    method = {"objective": "max_margin", "clustering": both}
    project.set(
        datasets__tiny__clusterings__one={"kind": "kmeans", "k": 1},
        methods__at_4={**method, "relevancy_threshold": 0.4},
        methods__at_5={**method, "relevancy_threshold": 0.5},
        grid__methods=["at_4", "at_5"],
    )
    assert project.run("cluster", *TINY).code == 0
    assert project.run("shift", *TINY).code == 0
    losses = {}
    for name in ("at_4", "at_5"):
        assert project.run("train", *CELL, name).code == 0
        curves = pd.read_csv(project.root / f"data/train/tiny/{name}/0/curves.csv")
        losses[name] = curves["loss"].tolist()
    assert losses["at_4"] == [0.0] * 4
    assert min(losses["at_5"]) > 0.05  # strictly above: those of one kind alone are left out


def test_individual_taus_move_from_the_shift_of_their_cluster(project: Project) -> None:
    use(project, "isogclr", shift="linear", temperature={"shift_min": 0.04, "shift_max": 0.1})
    assert project.run("shift", *TINY).code == 0
    assert project.run("train", *CELL, "isogclr").code == 0
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
