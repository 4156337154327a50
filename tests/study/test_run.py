"""A cell's record: what the stages train and evaluate give, and facts of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmts.errors import InputError
from mmts.evaluation.queries import query_table
from mmts.kinds.clustering.kmeans import Kind as KMeansClustering
from mmts.search import Search
from mmts.study.cell import Cell
from mmts.study.data import StudyData
from mmts.study.records import levels_of, unpacked
from mmts.study.run import controlled, opened, recipe, run_cell
from tests.conftest import CELL, Project
from tests.making import take_in_hand
from tests.study.conftest import planned


def cell(name: str = "mmts", seed: int = 0, **changes: object) -> Cell:
    found = {key.replace("__", "."): value for key, value in changes.items()}
    return planned().base.cell(name, found, seed, "f", "p")


def run(of: Cell, test: bool = True) -> dict[str, Any]:
    return run_cell("k", of, planned().base.towers, test)


def data() -> StudyData:
    return opened("tiny", planned().base.towers.model_dump_json())


@pytest.mark.parametrize("recipe", [{}, {"datasets__tiny__train__ema_decay": 0.9}])
def test_a_cell_is_what_the_stages_make(study: Project, recipe: dict[str, Any]) -> None:
    study.set(**recipe, datasets__tiny__train__validate_every=1)
    found = run(cell())
    for stage, method in (("shift", ()), ("train", ("mmts",)), ("evaluate", ("mmts",))):
        ran = study.run(stage, *(CELL if method else CELL[:2]), *method)
        assert ran.code == 0, ran.err
    trained, tested = Path("data/train/tiny/mmts/0"), Path("data/evaluate/tiny/mmts/0")
    assert found["validation"] == json.loads((trained / "metrics.json").read_text())
    metrics = json.loads((tested / "metrics.json").read_text())["pairs"]
    assert len(found["test"]) == 7
    assert found["test"] == {key: metrics[key] for key in found["test"]}
    queries = pd.read_parquet(tested / "queries.parquet")
    levels = unpacked(found["levels"], len(queries))
    assert levels.tolist() == levels_of(queries["rank"].to_numpy()).tolist()
    of_study = data().queries(planned().study.tail)
    assert of_study["direction"].tolist() == queries["direction"].tolist()
    assert of_study["part"].tolist() == queries["part"].tolist()
    number = {name: n for n, name in enumerate(data().test.sample_ids)}
    assert of_study["item"].tolist() == queries["sample_id"].map(number).tolist()


def test_a_record(study: Project) -> None:
    of = cell()
    found, again, other = run(of, test=False), run(of), run(cell(seed=1))
    assert {"test", "levels"} & set(found) == set() and found["validation"] == again["validation"]
    assert other["validation"] != found["validation"]
    assert found["key"] == "k" and found["steps"] == 4 and found["items"] == 16
    assert found | of.facts() == found and json.loads(json.dumps(found)) == found
    assert again["test"]["rsum"] == pytest.approx(
        100 * sum(value for key, value in again["test"].items() if key != "rsum")
    )
    recalls = [value for key, value in found["validation"].items() if key != "val/rsum"]
    assert found["validation"]["val/rsum"] == pytest.approx(100 * sum(recalls))


def test_a_loss_term_is_trained_with(study: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the record says."""
    import mmts.study.run as module

    seen: list[Any] = []
    terms = {"made_up": (0.5, lambda given: given.encoded.text.var())}
    started = module.started
    monkeypatch.setattr(module, "started", lambda *of: started(*of)._replace(terms=terms))
    train = module.train

    def spy(*of: Any, **more: Any) -> Any:
        seen.append(more["terms"])
        return train(*of, **more)

    monkeypatch.setattr(module, "train", spy)
    run(cell(), test=False)
    assert seen == [terms]


def test_a_trial_that_diverges_is_a_record(study: Project) -> None:
    of = cell(train__learning_rate=1e20, train__warmup_steps=0)
    found = run(of, test=False)
    assert "lower train.learning_rate" in found["failed"] and found["cpu_seconds"] > 0
    assert found["validation"] == {"val/rsum": 0.0} and found["key"] == "k"
    with pytest.raises(InputError):
        run(of)


def test_a_drawn_split(study: Project) -> None:
    tail = planned().study.tail
    (drawn, found), uniform = (
        (data().training(of.clustering, of.imbalance, of.tail, of.seed), run(of))
        for of in (cell("base", imbalance=3), cell("base", imbalance=1))
    )
    assert found["class_size"] == drawn.class_size and sum(drawn.class_size) == found["items"]
    assert len(set(uniform[0].class_size)) == 1 and found["imbalance"] == 3
    assert len(set(drawn.class_size)) == tail.classes
    assert found["steps"] == 6 == -(-6 // (found["items"] // 2)) * (found["items"] // 2)
    table = data()._clusters(KMeansClustering(kind="kmeans", k=tail.classes))
    of_caption = table.set_index("caption_id")["cluster_id"]
    pairs = drawn.pairs
    assert pairs.cluster_id.tolist() == of_caption[list(pairs.caption_ids)].tolist()
    counts = np.bincount(pairs.cluster_id, minlength=tail.classes)
    joined = drawn.clusters.set_index("caption_id").loc[list(pairs.caption_ids)]
    assert joined["cluster_size"].tolist() == counts[pairs.cluster_id].tolist()
    other = data().training(KMeansClustering(kind="kmeans", k=2), 3, tail, 1).pairs
    assert set(other.sample_ids) != set(pairs.sample_ids)
    whole = set(data().inputs.pairs("train", None).sample_ids)
    assert set(pairs.sample_ids) < whole


def test_the_recipe(study: Project) -> None:
    study.set(
        datasets__tiny__train__workers=2,
        datasets__tiny__train__launcher=["torchrun"],
        datasets__tiny__train__stream={"url": "http://nowhere/"},
    )
    found = recipe(cell(), 16)
    assert (found.launcher, found.stream, found.workers) == (None, None, 2)
    assert (found.epochs, found.batch_size, found.validate_every) == (2, 8, 2)
    tail = recipe(cell(imbalance=3), 7)
    assert (tail.epochs, tail.batch_size, tail.validate_every) == (2, 2, 2)


def test_controls() -> None:
    table = pd.DataFrame({"cluster_id": [0, 1, 2, 3], "shift": [0.4, 0.3, 0.15, 0.1]})
    assert controlled(table, "none", 0)["shift"].tolist() == table["shift"].tolist()
    reverse = controlled(table, "reversed", 0)
    np.testing.assert_allclose(reverse["shift"], [0.1, 0.2, 0.35, 0.4])
    dealt = [controlled(table, "random", seed)["shift"].tolist() for seed in range(8)]
    assert all(sorted(of) == sorted(table["shift"]) for of in dealt)
    assert dealt[3] == controlled(table, "random", 3)["shift"].tolist()
    assert len({tuple(of) for of in dealt}) > 3
    assert reverse["cluster_id"].tolist() == [0, 1, 2, 3]


def test_a_control_is_of_the_shifts_alone(study: Project) -> None:
    own, reverse = run(cell(train__epochs=1)), run(cell(train__epochs=1, control="reversed"))
    assert reverse["control"] == "reversed" and "control" not in own
    assert reverse["validation"] != own["validation"] or reverse["levels"] != own["levels"]
    flat = {"shifts": [0.2, 0.2], "train__epochs": 1}
    assert run(cell(**flat))["levels"] == run(cell(**flat, control="reversed"))["levels"]


def test_clusterings_are_made_once(study: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    table = data()._clusters(KMeansClustering(kind="kmeans", k=2))
    monkeypatch.setattr(KMeansClustering, "cluster", None)
    opened.cache_clear()
    assert data()._clusters(KMeansClustering(kind="kmeans", k=2)).equals(table)
    with pytest.raises(TypeError):
        data()._clusters(KMeansClustering(kind="kmeans", k=2, features="lsa"))
    folder = Path("data/cache/study/tiny")
    assert [path.suffix for path in folder.iterdir()] == [".parquet"]


def test_data_that_a_study_cannot_use(study: Project) -> None:
    manifest = take_in_hand(Path("data/shards/tiny/manifest.json"))
    said = json.loads(manifest.read_text())
    said["samples"]["val"] = 0
    manifest.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"tiny has no validation split, by which a study chooses"):
        data().held_out  # noqa: B018


def test_queries_of_the_default_clusters(study: Project) -> None:
    found, pairs = data().queries(planned().study.tail), data().test
    table = query_table(
        "",
        Search(pairs, np.arange(len(pairs)), np.arange(len(pairs.captions))),
        pairs.shards.cluster_size,
    )
    assert found["part"].tolist() == table["part"].tolist()
    assert found["class"].between(0, 2).all() and found["class"].nunique() > 1
    captions = found[found["direction"] == "t2v"]
    assert captions["item"].tolist() == pairs.owner.tolist()
