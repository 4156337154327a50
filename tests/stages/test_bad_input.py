"""What a user may get wrong: exit code 1, one line on stderr, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import CELL, CHAIN, Project
from tests.making import picture, take_in_hand, tiny_pairs

ROOT = Path(__file__).parents[2]
TINY = ("--dataset", "tiny")
BASE = (*CELL, "base")
OUTPUT = {
    "captions": "data/captions/tiny", "embed": "data/embed/tiny", "cluster": "data/cluster/tiny",
    "shift": "data/shift/tiny", "pack": "data/shards/tiny", "train": "data/train/tiny/base",
    "evaluate": "data/evaluate/tiny/base",
}  # fmt: skip
ARGUMENTS = {
    "captions": TINY, "embed": TINY, "cluster": TINY, "shift": TINY, "pack": TINY, "train": BASE,
    "evaluate": BASE,
}  # fmt: skip


def tree(root: Path) -> dict[str, bytes]:
    """All files but the caches, which are of finished batches."""
    files = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in files.items() if "data/cache/" not in name}


def folders(root: Path) -> set[str]:
    names = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_dir()}
    return {name for name in names if "data/cache/" not in name or name.endswith(".partial")}


def without_kept(project: Project) -> None:
    """Have what was trained and evaluated before done again."""
    shutil.rmtree(project.root / "data/cache/kept", ignore_errors=True)


def refused(project: Project, stage: str, arguments: tuple[str, ...] | None = None) -> str:
    """The line that the command refuses with, with and without an older output in the way.

    The line may be of `plan`, which comes first where params.yaml has changed.
    """
    arguments = ARGUMENTS[stage] if arguments is None else arguments
    without_kept(project)
    before = tree(project.root)
    if project.is_stale() and project.run("plan").code == 0:
        before = tree(project.root)
    first = project.run(stage, *arguments)
    assert tree(project.root) == before, "an older output was touched"
    if stage in OUTPUT:
        old = project.root / OUTPUT[stage]
        old.rename(project.root / "old")
        second = project.run(stage, *arguments)
        assert second == first
        assert not old.exists(), "an output was left behind"
        (project.root / "old").rename(old)
        assert tree(project.root) == before
    assert not list(project.root.rglob(".*.partial"))
    assert first.code == 1, first
    lines = first.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), first.err
    assert "Traceback" not in first.err + first.out
    return lines[0].removeprefix("error: ")


def params(project: Project, **changes: Any) -> None:
    project.set(**{f"datasets.tiny.{k}".replace(".", "__"): v for k, v in changes.items()})


# --- the good case -------------------------------------------------------------------------------


def test_the_stages_run_and_say_what_they_did(project: Project) -> None:
    said = {}
    without_kept(project)
    for stage, *arguments in CHAIN:
        ran = project.run(stage, *arguments)
        assert (ran.code, ran.err) == (0, ""), ran
        said[stage, arguments[-1]] = ran.out
    assert "train: " in said["captions", "tiny"] and "pictures" in said["captions", "tiny"]
    assert "0 embedded now" in said["embed", "tiny"]
    assert "default: 4 clusters" in said["cluster", "tiny"]
    assert "base: 4 clusters, shift 0.07 to 0.07" in said["shift", "tiny"]
    assert "mmts: 3 clusters, shift 0.1 to 0.3" in said["shift", "tiny"]
    assert "3 samples" in said["pack", "tiny"] or "shards: {'train': 16" in said["pack", "tiny"]
    assert "4 steps in" in said["train", "base"]
    assert "seed 0, pairs: t2v R@1" in said["evaluate", "base"]


def test_what_the_stages_hand_on(project: Project) -> None:
    data = project.root / "data"
    captions = pd.read_parquet(data / "captions/tiny/captions.parquet")
    text = np.load(data / "embed/tiny/text.npy")
    rows = np.load(data / "embed/tiny/caption_text.npy")
    assert len(rows) == len(captions) and len(text) == captions["caption"].nunique()
    assert len(np.load(data / "embed/tiny/vision.npy")) == captions["sample_id"].nunique()
    clusters = pd.read_parquet(data / "cluster/tiny/kinds.parquet")
    assert clusters["caption_id"].tolist() == captions["caption_id"].tolist()
    shift = pd.read_parquet(data / "shift/tiny/mmts/shift.parquet")
    assert list(shift.columns) == ["cluster_id", "cluster_size", "shift"]
    assert (shift["shift"].min(), shift["shift"].max()) == (0.1, 0.3)
    joined = pd.read_parquet(data / "shift/tiny/mmts/clusters.parquet")
    assert joined.equals(clusters[["caption_id", "cluster_id"]])
    assert not (data / "shift/tiny/base/clusters.parquet").exists()
    facts = json.loads((data / "train/tiny/mmts/0/run.json").read_text())
    assert (facts["objective"], facts["modulator"]) == ("max_margin", "scheduled")
    assert facts["clustering"] == {"shift": "kinds", "relevancy": []}
    assert (data / "train/tiny/mmts/0/state.safetensors").exists()
    assert facts["total_steps"] == 4 and facts["period"] == 4 / 5
    metrics = json.loads((data / "evaluate/tiny/base/0/metrics.json").read_text())
    assert set(metrics) == {"pairs"} and 0 <= metrics["pairs"]["t2v/R@1"] <= 1


# --- params.yaml ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(ARGUMENTS))
def test_a_dataset_that_does_not_exist(project: Project, stage: str) -> None:
    arguments = tuple("tony" if a == "tiny" else a for a in ARGUMENTS[stage])
    found = refused(project, stage, arguments)
    assert found == "there is no plan of dataset tony; did you mean tiny? there are: tiny"
    assert "tony" not in "".join(folders(project.root))


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_method_that_does_not_exist(project: Project, stage: str) -> None:
    arguments = tuple("bass" if a == "base" else a for a in ARGUMENTS[stage])
    found = refused(project, stage, arguments)
    assert found == "there is no plan of method bass; did you mean base? there are: base, mmts"


@pytest.mark.parametrize("stage", ["plan", *ARGUMENTS])
def test_no_params_file(project: Project, stage: str) -> None:
    (project.root / "params.yaml").unlink()
    found = refused(project, stage, ARGUMENTS.get(stage, ()))
    assert found == "params.yaml is not there; run from the project's folder"


@pytest.mark.parametrize("stage", list(ARGUMENTS))
def test_no_plan(project: Project, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project.root / "data/plan")
    monkeypatch.setattr(Project, "is_stale", lambda _: False)
    assert refused(project, stage) == "data/plan is not there; run `dvc repro plan`"


@pytest.mark.parametrize("stage", list(ARGUMENTS))
def test_a_plan_of_other_params(
    project: Project, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(project.root / "params.yaml", "a", encoding="utf-8") as file:
        file.write("\n")
    with monkeypatch.context() as patch:
        patch.setattr(Project, "is_stale", lambda _: False)
        found = refused(project, stage)
    assert found == "data/plan is older than params.yaml; run `dvc repro plan`"
    monkeypatch.setenv("DVC_STAGE", stage)  # DVC itself sees to it that `plan` has run
    monkeypatch.setattr(Project, "is_stale", lambda _: False)
    assert project.run(stage, *ARGUMENTS[stage]).code == 0


def test_broken_params(project: Project) -> None:
    (project.root / "params.yaml").write_text("grid: [\n")
    assert refused(project, "captions").startswith("params.yaml line 2: not valid YAML: ")


def test_unknown_keys_and_wrong_types(project: Project) -> None:
    params(project, **{"train.lerning_rate": 1})
    key = "params.yaml: datasets.tiny.train."
    assert refused(project, "train").startswith(f"{key}lerning_rate is not a setting; did you mean")
    params(project, **{"train.epochs": "ten"})
    assert refused(project, "train") == f"{key}epochs is 'ten'; it should be a valid integer"


def test_a_temperature_that_reaches_0(project: Project) -> None:
    project.set(methods__base__schedule="cosine", datasets__tiny__temperature__alpha=0.14)
    found = refused(project, "train")
    assert found.startswith(
        "params.yaml: datasets.tiny.temperature with methods.base: shift_min - alpha/2 is 0.07 - "
        "0.14/2 = 0; a temperature must stay above 0: "
    )
    assert found.endswith("raise shift_min (without shifts: fixed) or lower alpha")
    assert refused(project, "plan", ()) == found


def test_plan(project: Project) -> None:
    ran = project.run("plan")
    assert ran.code == 0 and "params.yaml is fine: tiny; 2 methods x 1 seeds = 2 models" in ran.out
    project.set(grid__methods=["base", "bass"])
    assert refused(project, "plan", ()).startswith("params.yaml: grid.methods names bass; did")
    assert refused(project, "plan", ("--params", "nope.yaml")).startswith("nope.yaml is not there")
    Path("data/raw/tiny").rename("data/raw/other")
    project.set()
    assert refused(project, "plan", ()).startswith("data/raw/tiny is not there; put the files of")
    Path("data/raw/other").rename("data/raw/tiny")
    project.set(datasets__tiny__embed__model="nobody/no-such-model")
    found = refused(project, "plan", ())
    assert found.startswith("nobody/no-such-model cannot be loaded (")
    assert found.endswith("give the model's local folder or `package:<import name>`")


# --- captions ------------------------------------------------------------------------------------


def raw(project: Project) -> Path:
    return project.root / "data/raw/tiny"


def test_a_table_that_is_not_there(project: Project) -> None:
    (raw(project) / "pairs.csv").unlink()
    found = refused(project, "captions")
    assert found.startswith("data/raw/tiny/pairs.csv is not there; name a table (.csv")


def test_missing_and_undecodable_images(project: Project) -> None:
    (raw(project) / "images/004.jpg").unlink()
    found = refused(project, "captions")
    assert found.startswith("source pairs: 1 of 32 pictures are bad, above max_bad_share 0.0; ")
    assert "data/raw/tiny/images/004.jpg (missing)" in found
    (raw(project) / "images/004.jpg").write_bytes(picture(4)[:200])
    assert "data/raw/tiny/images/004.jpg (undecodable: not a readable pict" in refused(
        project, "captions"
    )
    params(project, **{"captions.max_bad_share": 0.05})
    ran = project.run("captions", *TINY)
    assert ran.code == 0 and "dropped: 1 rows, undecodable" in ran.out


def test_the_parquet_files_of_a_run_with_dropped_rows_repeat(project: Project) -> None:
    (raw(project) / "images/004.jpg").write_text("no picture")
    params(project, **{"captions.max_bad_share": 0.05})
    written = []
    for _ in range(2):
        assert project.run("captions", *TINY).code == 0
        written.append(tree(project.root / "data/captions/tiny"))
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"caption": "\t"}, {"split_column": "kind"}, "row 1: kind is 'ball'; it must be train, v"),
        ({}, {"caption_column": "text"}, "pairs.csv has no column 'text'; it has 'image'"),
        ({}, {"class_columns": ["noun"]}, "pairs.csv has no column 'noun'; it has 'image'"),
        ({}, {"id_column": "kind"}, "id 'ball' stands "),
        ({}, {"split": {"train": 0.98, "val": 0.01, "test": 0.01}}, "split val has no rows (43"),
        ({"image": "x\udce9"}, {}, "pairs.csv is not UTF-8 (byte "),
    ],
)  # fmt: skip
def test_bad_tables(
    project: Project, change: dict[str, str], settings: dict[str, Any], message: str
) -> None:
    pairs = tiny_pairs()
    pairs[0] |= change
    text = "\n".join(",".join(row) for row in [pairs[0], *(row.values() for row in pairs)])
    (raw(project) / "pairs.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    params(project, **{f"captions.sources.pairs.{k}": v for k, v in settings.items()})
    assert message in refused(project, "captions")


# --- embed, cluster, shift -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("package:no_such", "package:no_such: no package of that import name is installed; inst"),
        ("./no/such", "./no/such: no such folder; give the model's local folder or `package:<im"),
        ("org/no-such", "org/no-such cannot be loaded ("),
    ],
)  # fmt: skip
def test_a_model_that_does_not_exist(project: Project, model: str, message: str) -> None:
    params(project, **{"embed.model": model})
    assert refused(project, "embed").startswith(message)


def test_a_vision_model_that_does_not_exist(project: Project) -> None:
    params(project, **{"towers.vision.weights": "no.safetensors"})
    assert refused(project, "embed").startswith("no.safetensors is no file; give package:<name>")


def test_more_clusters_than_captions(project: Project) -> None:
    params(project, **{"clusterings.default.k": 500})
    found = refused(project, "cluster")
    assert found.startswith("k is 500 but the training split has ") and "lower k" in found


def test_a_class_column_that_is_missing(project: Project) -> None:
    params(project, **{"clusterings.kinds.column": "noun"})
    found = refused(project, "cluster")
    assert found.startswith(
        "clustering by column noun: there is no such class column; there are: kind"
    )


def test_a_clustering_that_does_not_exist(project: Project) -> None:
    project.set(methods__base__clustering="verbs")
    assert refused(project, "shift") == (
        "params.yaml: methods.base.clustering names verbs, which datasets.tiny.clusterings lacks; "
        "there are: default, kinds"
    )


def test_shifts_the_wrong_way_round(project: Project) -> None:
    project.set(methods__base__shift="linear", datasets__tiny__temperature__shift_min=0.5)
    assert refused(project, "shift").startswith(
        "params.yaml: datasets.tiny.temperature with methods.base: shift_min 0.5 is above "
        "shift_max 0.09; raise"
    )


def test_clusters_all_of_one_size_warn_and_get_the_middle(project: Project) -> None:
    path = take_in_hand(project.root / "data/cluster/tiny/default.parquet")
    clusters = pd.read_parquet(path)
    clusters.assign(cluster_size=5).to_parquet(path, index=False)
    project.set(methods__base__shift="linear", grid__methods=["base"])
    ran = project.run("shift", *TINY)
    assert ran.code == 0
    assert ran.err.startswith("warning: all clusters have 5 samples") and ran.err.count("\n") == 1
    shift = pd.read_parquet(project.root / "data/shift/tiny/base/shift.parquet")["shift"]
    assert shift.tolist() == [pytest.approx(0.07)] * len(shift)


# --- pack, train, evaluate -----------------------------------------------------------------------


def test_a_picture_that_changed_before_pack(project: Project) -> None:
    path = raw(project) / "images/004.jpg"
    path.write_bytes(path.read_bytes() + b"x")
    found = refused(project, "pack")
    assert found.startswith("data/raw/tiny/images/004.jpg (images/004.jpg) has changed since")
    path.unlink()
    found = refused(project, "pack")
    assert found.startswith("data/raw/tiny/images/004.jpg (images/004.jpg): No such file")


@pytest.mark.parametrize(
    ("stage", "split"), [("train", "train"), ("train", "val"), ("evaluate", "test")]
)
def test_a_shard_that_does_not_match_its_manifest(project: Project, stage: str, split: str) -> None:
    path = project.root / f"data/shards/tiny/{split}-000000.tar"
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(bytes(data))
    found = refused(project, stage)
    assert found.startswith(
        f"data/shards/tiny/{split}-000000.tar does not match the SHA-256 in man"
    )
    path.unlink()
    assert refused(project, stage).startswith(f"data/shards/tiny/{split}-000000.tar is not there")


def test_train_does_not_read_the_test_split(project: Project) -> None:
    (project.root / "data/shards/tiny/test-000000.tar").unlink()
    without_kept(project)
    assert project.run("train", *BASE).code == 0


def test_a_batch_larger_than_the_split(project: Project) -> None:
    params(project, **{"train.batch_size": 17})
    found = refused(project, "train")
    assert found.startswith(
        "train.batch_size 17 is larger than the training split (16 media items)"
    )


@pytest.mark.parametrize("side", ["vision", "text"])
def test_a_hub_that_cannot_be_reached(project: Project, side: str) -> None:
    name = {"vision": "resnet", "text": "distilbert"}[side]
    tower: dict[str, Any] = {"name": name, "weights": "org/no-such", "frozen": False}
    more: dict[str, Any] = {"image_size": 32} if side == "vision" else {"pooling": "cls"}
    params(project, **{f"towers.{side}": {**tower, **more}})
    found = refused(project, "train")
    assert found.startswith("org/no-such cannot be loaded (") and "give a " in found
    assert found.endswith("model's local folder, with config.json and model.safetensors")


def test_outputs_are_on_the_disk_before_the_checkpoints_go(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    params(project, **{"train.checkpoint": {"every_steps": 2, "every_minutes": 0}})
    seen = []

    def sync(path: Path) -> None:
        if path.parent == Path("data/cache/kept/train/tiny/base"):
            left = list(Path("data/cache/checkpoints").rglob("step-*"))  # the new name in it is
            seen.append(((path / "0/model.safetensors").exists(), len(left) > 0))  # the last thing

    shutil.rmtree(OUTPUT["train"])
    without_kept(project)
    monkeypatch.setattr("mmts.files.sync", sync)
    assert project.run("train", *BASE).code == 0
    assert seen == [(True, True)]
    assert not list(Path("data/cache/checkpoints").rglob("step-*"))


def test_a_training_that_goes_astray(project: Project) -> None:
    params(project, **{"train.learning_rate": 1e30, "train.epochs": 5})
    assert "lower train.learning_rate" in refused(project, "train")


def test_a_shift_table_that_lacks_a_cluster(project: Project) -> None:
    path = take_in_hand(project.root / "data/shift/tiny/base/shift.parquet")
    pd.read_parquet(path).iloc[1:].to_parquet(path, index=False)
    assert refused(project, "train").startswith(
        "cluster_id 0 of a training row is not in the shift"
    )


def test_features_of_other_captions(project: Project) -> None:
    path = take_in_hand(project.root / "data/embed/tiny/ids.parquet")
    ids = pd.read_parquet(path)
    ids.assign(caption_id=ids["caption_id"] + "x").to_parquet(path, index=False)
    assert "of data/shards/tiny was never embedded; run `dvc repro`" in refused(project, "train")


def test_a_cell_that_was_not_trained(project: Project) -> None:
    project.set(grid__seeds=[7])
    found = refused(project, "evaluate")
    assert found == "data/train/tiny/base/7 is not there; run `dvc repro`"


def test_a_model_that_is_damaged(project: Project) -> None:
    path = take_in_hand(project.root / "data/train/tiny/base/0/model.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    assert refused(project, "evaluate").startswith(
        "data/train/tiny/base/0/model.safetensors and mod"
    )


INPUTS = [
    ("embed", "data/captions/tiny/captions.parquet"),
    ("cluster", "data/captions/tiny/captions.parquet"),
    ("cluster", "data/embed/tiny/text.npy"),
    ("cluster", "data/embed/tiny/caption_text.npy"),
    ("shift", "data/cluster/tiny/default.parquet"),
    ("pack", "data/captions/tiny/captions.parquet"),
    ("pack", "data/cluster/tiny/default.parquet"),
    ("train", "data/shift/tiny/base/shift.parquet"),
    ("train", "data/embed/tiny/ids.parquet"),
    ("train", "data/embed/tiny/vision.npy"),
    ("train", "data/shards/tiny/manifest.json"),
    ("evaluate", "data/train/tiny/base/0/model.json"),
    ("evaluate", "data/train/tiny/base/0/model.safetensors"),
    ("evaluate", "data/shards/tiny/index.parquet"),
]


@pytest.mark.parametrize(("stage", "name"), INPUTS)
def test_inputs_that_are_damaged_or_gone(project: Project, stage: str, name: str) -> None:
    path = take_in_hand(project.root / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = refused(project, stage)
    assert name in found or Path(name).name in found, found
    assert "dvc repro" in found
    path.unlink()
    found = refused(project, stage)
    if name.endswith("vision.npy"):
        assert found.startswith("the vision tower is frozen but has no features; run `dvc repro`")
    else:
        assert found.startswith(f"{name} is not there; run `dvc repro")
    if stage == "train" and "shift" in name:
        assert found.rstrip().endswith("run `dvc repro` with base in grid.methods")


# --- the commands as processes -------------------------------------------------------------------


def test_as_a_process(project: Project) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.captions", "--dataset", "tony"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: there is no plan of dataset tony; did you mean tiny?")
    assert ran.stderr.count("\n") == 1
    assert not (project.root / "data/captions/tony").exists()


def test_stopping_leaves_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    without_kept(project)
    before = tree(project.root), folders(project.root)
    for stage, place in (
        ("captions", "mmts.captions.build"),
        ("pack", "mmts.shards.write_shards"),
        ("train", "mmts.training.loop.train"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, stop)
            ran = project.run(stage, *ARGUMENTS[stage])
        assert ran.code == 130 and "Traceback" not in ran.err
        assert (tree(project.root), folders(project.root)) == before
