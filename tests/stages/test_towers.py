"""The stages with other towers than the frozen pair of the tiny project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mmts.shards import ShardReader
from mmts.training.batches import Plan
from tests import reference
from tests.conftest import CELL, CHAIN, Project
from tests.making import take_in_hand, write_sentence_model
from tests.making_towers import write_converted, write_hub_cache, write_tokenizer
from tests.making_transformers import write_distilbert, write_resnet
from tests.stages.test_bad_input import refused

CNN = {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 16}
WORDS = {"name": "small_transformer", "weights": "random", "frozen": False}
BASE = (*CELL, "base")


def test_trainable_towers(project: Project) -> None:
    project.set(datasets__tiny__towers={"vision": CNN, "text": WORDS})
    for stage, *arguments in CHAIN:
        ran = project.run(stage, *arguments)
        assert (ran.code, ran.err) == (0, ""), (stage, ran)
    data = project.root / "data"
    assert not (data / "embed/tiny/vision.npy").exists()
    cell = data / "train/tiny/base/0"
    assert (cell / "tokenizer.json").exists()
    assert set(json.loads((cell / "model.json").read_text())["dims"]) == {"vocabulary"}
    queries = pd.read_parquet(data / "evaluate/tiny/base/0/queries.parquet")
    captions = pd.read_parquet(data / "captions/tiny/captions.parquet")
    test = captions[captions["split"] == "test"]
    assert len(queries) == len(test) + test["sample_id"].nunique()


def test_the_tokenizer_learns_from_training_captions_alone(project: Project) -> None:
    project.set(datasets__tiny__towers={"vision": CNN, "text": WORDS})
    assert project.run("train", *BASE).code == 0
    path = project.root / "data/train/tiny/base/0/tokenizer.json"
    vocabulary = json.loads(path.read_text())["model"]["vocab"]
    captions = pd.read_parquet(project.root / "data/captions/tiny/captions.parquet")
    numbers = captions["caption"].str.extract(r" (\d+)$")[0]
    held_out = set(numbers[captions["split"] != "train"].dropna())
    known = {piece.removeprefix("Ġ") for piece in vocabulary}
    trained = set(numbers[captions["split"] == "train"].dropna())
    longer = {n for n in held_out - trained if len(n) == 2}
    assert longer and not longer <= known


def test_clusters_by_one_text_model_and_a_tower_of_another(
    project: Project, tmp_path: Path
) -> None:
    other = write_sentence_model(tmp_path / "other", pooling="cls")
    project.set(datasets__tiny__embed__model=str(other))
    for stage in ("embed", "cluster", "shift", "pack", "train", "evaluate"):
        arguments = next(c[1:] for c in CHAIN if c[0] == stage)
        assert project.run(stage, *arguments).code == 0, stage
    folder = project.root / "data/embed/tiny"
    own, text = np.load(folder / "text_features.npy"), np.load(folder / "text.npy")
    assert own.shape == text.shape and abs(own - text).max() > 0.01
    facts = json.loads((folder / "embed.json").read_text())
    assert facts["text"]["fingerprint"] != facts["text_tower"]["fingerprint"]
    assert facts["text"]["model"] == str(other)


def test_tau_of_each_step_is_that_of_the_drawn_captions(project: Project) -> None:
    data = project.root / "data"
    samples = ShardReader(data / "shards/tiny", "train").samples
    ids = [caption_id for sample in samples for caption_id in sample["caption_ids"]]
    first = np.cumsum([0, *(len(sample["caption_ids"]) for sample in samples)])
    picks = [*Plan(first, 8, 0).batches(0), *Plan(first, 8, 0).batches(1)]
    for method, clustering, alpha in (("base", "default", 0.0), ("mmts", "kinds", 0.1)):
        clusters = pd.read_parquet(data / f"cluster/tiny/{clustering}.parquet")
        shift = pd.read_parquet(data / f"shift/tiny/{method}/shift.parquet")
        cluster_of = dict(zip(clusters["caption_id"], clusters["cluster_id"], strict=True))
        shift_of = dict(zip(shift["cluster_id"], shift["shift"], strict=True))
        curves = pd.read_csv(data / f"train/tiny/{method}/0/curves.csv")
        assert curves["step"].tolist() == [0, 1, 2, 3]
        for step, batch in enumerate(picks):
            base = reference.tau_base(step, alpha, 4 / 5)
            tau = [base + shift_of[cluster_of[ids[row]]] for row in batch.captions]
            found = curves.loc[step, ["tau_min", "tau_mean", "tau_max"]].tolist()
            assert found == pytest.approx([min(tau), np.mean(tau), max(tau)], abs=1e-6)


def test_a_clip_text_tower_all_the_way(project: Project, tmp_path: Path) -> None:
    weights = write_converted(tmp_path / "weights")
    words = write_tokenizer(tmp_path / "words")
    text = {"name": "clip_text", "weights": str(weights), "frozen": False, "tokenizer": str(words)}
    parts = ["text.blocks.*", "text.tokens.*"]
    project.set(datasets__tiny__towers={"vision": CNN, "text": text, "frozen_parts": parts})
    assert project.run("train", *BASE).code == 0
    cell = project.root / "data/train/tiny/base/0"
    facts = json.loads((cell / "model.json").read_text())
    assert facts["dims"] == {"vocabulary": 30}
    assert set(facts["loaded"]) == set(facts["shapes"]) == {"text"}
    trained, start = (
        load_file(cell / "model.safetensors"),
        load_file(weights / "towers.safetensors"),
    )
    moved = {n for n, v in start.items() if n in trained and not torch.equal(v, trained[n])}
    assert moved == {
        "text.position", "text.norm_post.weight", "text.norm_post.bias", "text.projection.weight"
    }  # fmt: skip
    shutil.rmtree(weights)
    shutil.rmtree(words)
    ran = project.run("evaluate", *BASE)
    assert (ran.code, ran.err) == (0, "")


def test_a_learned_tokenizer_for_clip_text(project: Project) -> None:
    shape = {"context": 8, "width": 16, "layers": 1, "heads": 2, "dim": 8}
    text = {"name": "clip_text", "weights": "random", "frozen": False, "shape": shape}
    project.set(datasets__tiny__towers={"vision": CNN, "text": text})
    for stage in ("train", "evaluate"):
        ran = project.run(stage, *BASE)
        assert (ran.code, ran.err) == (0, "")
    tokenizer = json.loads((project.root / "data/train/tiny/base/0/tokenizer.json").read_text())
    assert tokenizer["truncation"]["max_length"] == 8


def test_towers_that_do_not_fit_what_was_packed(project: Project) -> None:
    clips = {"name": "video_vit", "weights": "random", "frozen": False, "image_size": 32,
             "clip_length": 2}  # fmt: skip
    project.set(datasets__tiny__towers={"vision": clips, "text": WORDS})
    assert refused(project, "train").startswith("datasets.tiny.captions.sources are pictures but")
    project.set(datasets__tiny__towers={"vision": CNN, "text": WORDS, "frozen_parts": ["vison.*"]})
    assert refused(project, "train").startswith("towers.frozen_parts: 'vison.*' matches no param")


def test_a_frozen_picture_tower_on_videos(project: Project) -> None:
    project.set()
    path = take_in_hand(project.root / "data/captions/tiny/captions.parquet")
    captions = pd.read_parquet(path)
    captions.insert(8, "start", 0.5)
    captions.insert(9, "stop", 2.5)
    captions.assign(media="gone.mp4").to_parquet(path, index=False)
    found = refused(project, "embed")
    assert found.startswith("datasets.tiny.towers.vision.frozen is true but ")
    assert "are clips of videos" in found and "set datasets.tiny.towers.vision.name to" in found


@pytest.mark.parametrize("frozen", [False, True])
def test_towers_of_transformers_all_the_way(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    hub, revision = tmp_path / "hub", "0" * 39 + "1"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    write_hub_cache(hub, "org/resnet", write_resnet(tmp_path / "resnet"))
    write_hub_cache(hub, "org/bert", write_distilbert(tmp_path / "bert"))
    vision = {"name": "resnet", "weights": "org/resnet", "frozen": frozen, "image_size": 40}
    text = {"name": "distilbert", "weights": "org/bert", "frozen": frozen, "pooling": "cls"}
    if not frozen:
        vision["gradient_checkpointing"] = text["gradient_checkpointing"] = True
    project.set(datasets__tiny__towers={"vision": vision, "text": text})
    for stage in ("embed", "train"):
        ran = project.run(stage, *(BASE if stage == "train" else ("--dataset", "tiny")))
        assert (ran.code, ran.err) == (0, ""), (stage, ran)
    data = project.root / "data"
    cell, facts = data / "train/tiny/base/0", json.loads(
        (data / "embed/tiny/embed.json").read_text()
    )  # fmt: skip
    model = json.loads((cell / "model.json").read_text())
    if frozen:
        assert facts["vision_tower"]["revision"] == facts["text_tower"]["revision"] == revision
        assert np.load(data / "embed/tiny/vision.npy").shape[1] == 24
        assert np.load(data / "embed/tiny/text_features.npy").shape[1] == 16
        assert model["dims"] == {"vision": 24, "text": 16} and "loaded" not in model
    else:
        assert set(facts) == {"text"} and set(model["shapes"]) == {"vision", "text"}
        assert {side: found["weights"] for side, found in model["loaded"].items()} == {
            "vision": "org/resnet", "text": "org/bert"
        }  # fmt: skip
        assert all(found["revision"] == revision for found in model["loaded"].values())
    shutil.rmtree(hub)
    ran = project.run("evaluate", *BASE)
    assert (ran.code, ran.err) == (0, "")


def test_a_learning_rate_of_no_part_is_told_before_the_training(project: Project) -> None:
    project.set(datasets__tiny__train__learning_rates={"vison_head.*": 1e-3})
    ran = project.run("plan")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "error: train.learning_rates: 'vison_head.*' matches no parameter that is trained; near "
        "it: vision_head.*, vision_head.2.*, vision_head.2.bias\n"
    )
    found = []
    for pattern in ("*", "vision_head.*"):
        project.set(datasets__tiny__train__learning_rates={pattern: 1e-30})
        assert project.run("train", *BASE).code == 0
        found.append(load_file("data/train/tiny/base/0/model.safetensors"))
    still, partly = found
    alike = {name: torch.equal(value, partly[name]) for name, value in still.items()}
    assert alike == {name: name.startswith("vision_head.") for name in still}
