"""`python -m stages.features`, and clusters of what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmts.captions_table import read_captions
from mmts.kinds.model import Parts
from mmts.settings.training import Head
from mmts.towers.model import Model
from mmts.training.inputs import Inputs
from mmts.training.saved import load_model
from mmts.training.validation import encode_split
from tests.conftest import Project
from tests.making_towers import write_tokenizer
from tests.making_transformers import write_clip_text

OF = ("--dataset", "tiny", "--output", "data/features/own.parquet")
METHOD = ("--method", "base", "--seed", "0")
USED = {"methods__mmts__clustering": "own"}
PLACE = "data/features/own.parquet"


def table() -> pd.DataFrame:
    return pd.read_parquet(PLACE)


def test_features_of_a_trained_model(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = project.run("features", *OF, *METHOD)
    assert ran.code == 0, ran.err
    captions = read_captions(Path("data/captions/tiny"))
    found = table().set_index("sample_id")["vector"]
    assert set(found.index) == set(captions["sample_id"]) and list(table()) == [
        "sample_id", "vector",
    ]  # fmt: skip
    assert ran.out == f"{PLACE}: {len(found)} media items, vectors of {len(found.iloc[0])}\n"
    model, towers, tokenizer, streams, kind = load_model(Path("data/train/tiny/base/0"))
    inputs = Inputs(Path("data"), "tiny", towers, streams=streams, kind=kind)
    pairs = inputs.pairs("val", tokenizer)
    rows, _ = encode_split(model, pairs, torch.device("cpu"), 8)
    np.testing.assert_allclose(np.stack(found[list(pairs.sample_ids)].tolist()), rows, atol=1e-6)
    ran = project.run("features", *OF, "--untrained", "--seed", "3")
    assert ran.code == 0, ran.err
    torch.manual_seed(3)
    fresh = kind.build(Parts(towers, Head(dim=16, dropout=0.0), inputs.dims))
    rows, _ = encode_split(fresh, pairs, torch.device("cpu"), 8)
    vectors = table().set_index("sample_id")["vector"][list(pairs.sample_ids)]
    np.testing.assert_allclose(np.stack(vectors.tolist()), rows, atol=1e-6)
    # those of a model that says what is before its head
    monkeypatch.setattr(Model, "features", lambda _, streams: 2 * streams["features"][:, :3])
    assert project.run("features", *OF, *METHOD).out.endswith("media items, vectors of 3\n")


def test_clusters_of_them(project: Project) -> None:
    own = {"kind": "kmeans", "k": 3, "features": "file", "path": PLACE}
    project.set(datasets__tiny__clusterings__own=own)  # which no method uses
    assert project.run("cluster", "--dataset", "tiny").code == 0
    assert not Path("data/cluster/tiny/own.json").exists()
    project.set(**USED, datasets__tiny__clusterings__own=own)
    ran = project.run("plan")
    assert (ran.code, ran.err) == (
        1,
        f"error: datasets.tiny.clusterings.own reads {PLACE}, which is not there; write it with "
        "`python -m stages.features`, or leave the methods that use it out of grid.methods until "
        "then\n",
    )
    project.set()
    assert project.run("features", *OF, *METHOD).code == 0
    project.set(**USED, datasets__tiny__clusterings__own=own)
    ran = project.run("cluster", "--dataset", "tiny")
    assert ran.code == 0 and "own: 3 clusters of " in ran.out, ran.err
    about = json.loads(Path("data/cluster/tiny/own.json").read_text())
    assert about["label"] == "K-Means of own" and not about["published"]
    before = Path("data/plan/tiny/cluster.json").read_text()
    assert list(json.loads(before)["files"]) == [PLACE]
    table().iloc[::-1].to_parquet(PLACE, index=False)
    ran = project.run("cluster", "--dataset", "tiny")
    assert ran.err.startswith(f"error: {PLACE} has changed since data/plan was written; run `dvc")
    assert project.run("plan").code == 0
    assert Path("data/plan/tiny/cluster.json").read_text() != before
    table()[1:].to_parquet(PLACE, index=False)
    assert project.run("plan").code == 0
    ran = project.run("cluster", "--dataset", "tiny")
    lost = f"error: {PLACE} lacks 1 of "
    assert ran.code == 1 and ran.err.startswith(lost) and ran.err.count("\n") == 1


def test_features_of_captions_by_a_text_tower(project: Project, tmp_path: Path) -> None:
    weights = str(write_clip_text(tmp_path / "clip"))
    words = str(write_tokenizer(tmp_path / "words"))
    ran = project.run("features", *OF, "--text-weights", weights, "--tokenizer", words)
    assert ran.code == 0, ran.err
    captions = read_captions(Path("data/captions/tiny"))
    assert ran.out == f"{PLACE}: {len(captions)} captions, vectors of 8\n"
    found = table()
    assert found["caption_id"].tolist() == captions["caption_id"].tolist()
    texts = captions["caption"].tolist()
    first, again = 0, texts.index(texts[0], 1) if texts.count(texts[0]) > 1 else 0
    np.testing.assert_array_equal(found["vector"][first], found["vector"][again])
    assert len(np.unique(np.stack(found["vector"].tolist()), axis=0)) <= len(set(texts))


@pytest.mark.parametrize("more", [(), (*METHOD, "--text-weights", "x")])
def test_one_of_two(project: Project, more: tuple[str, ...]) -> None:
    ran = project.run("features", *OF, *more)
    assert (ran.code, ran.err) == (
        1,
        "error: give one of --method, for features of a trained model, --untrained, for those of "
        "the model before, or --text-weights, for those of a text tower\n",
    )
