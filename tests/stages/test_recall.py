"""`python -m stages.evaluate recall`: somebody's scores on the test split of a dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import reference
from tests.conftest import Project, Ran


@pytest.fixture
def captions(project: Project) -> pd.DataFrame:
    rows = pd.read_parquet("data/captions/tiny/captions.parquet")
    return rows[rows["split"] == "test"]


@pytest.fixture
def scores(captions: pd.DataFrame) -> np.ndarray:
    items = captions["sample_id"].nunique()
    return np.random.default_rng(0).standard_normal((items, len(captions)))


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *more: str) -> Ran:
    """Run the command on s.npz, or on what is named."""
    from stages import cli, evaluate

    file = [] if "--similarity" in more else ["--similarity", "s.npz"]
    arguments = ["recall", *file, "--captions", "data/captions/tiny", "--bootstrap", "100", *more]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    code = 0
    try:
        cli.run(evaluate.main, recall="stages.recall")
    except SystemExit as stop:
        code = int(stop.code or 0)
    return Ran(code, *capsys.readouterr())


def save(captions: pd.DataFrame, scores: np.ndarray) -> None:
    """Rows and columns in an order of their own."""
    rng = np.random.default_rng(1)
    items = np.array(list(dict.fromkeys(captions["sample_id"])), dtype=str)
    rows, columns = (rng.permutation(n) for n in scores.shape)
    texts = np.array(captions["caption_id"].tolist(), dtype=str)
    np.savez("s.npz", sim_mat=scores[rows][:, columns], vis_ids=items[rows], txt_ids=texts[columns])


def test_recalls_are_those_of_the_double_loop(
    project: Project, captions: pd.DataFrame, scores: np.ndarray,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    save(captions, scores)
    owner = pd.factorize(captions["sample_id"])[0].tolist()
    table = pd.DataFrame({"caption_id": captions["caption_id"]})
    table["cluster_id"] = np.array(owner) % 2
    table["cluster_size"] = table["cluster_id"].map({0: 30, 1: 10})
    table.to_parquet("clusters.parquet", index=False)
    ran = run(
        capsys, monkeypatch, "--k", "2", "--k", "50", "--json", "out.json",
        "--clusters", "clusters.parquet",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads(Path("out.json").read_text())
    assert list(found) == ["all", "head", "tail"]
    # the product of scores and the unit matrix is the scores
    wanted = reference.recall(np.eye(len(scores)).tolist(), scores.T.tolist(), owner, (1, 2, 5, 50))
    assert {key: found["all"][key] for key in wanted} == pytest.approx(wanted)
    recalls = [found["all"][f"{d}/R@{k}"] for d in ("t2v", "v2t") for k in (1, 5, 10)]
    assert found["all"]["rsum"] == pytest.approx(100 * sum(recalls))
    assert found["all"]["rsum/low"] <= found["all"]["rsum"] <= found["all"]["rsum/high"]
    assert found["all"]["t2v/queries"] == len(captions)
    parts = [found["head"], found["tail"]]
    assert sum(part["v2t/queries"] for part in parts) == len(scores)
    hits = sum(part["t2v/R@5"] * part["t2v/queries"] for part in parts)
    assert hits == pytest.approx(found["all"]["t2v/R@5"] * len(captions))
    head, first, *_, last = ran.out.splitlines()
    assert head.split()[3:7] == ["t2v", "R@1", "t2v", "R@2"] and head.endswith("rsum")
    assert first.split()[0] == "all" and first.endswith(f"{found['all']['rsum']:.2f}")
    assert last.startswith("95 % interval of rsum, all queries: ")


def test_what_does_not_fit_is_one_line(
    project: Project, captions: pd.DataFrame, scores: np.ndarray,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    np.save("s.npy", scores.T)
    ran = run(capsys, monkeypatch, "--similarity", "s.npy")
    assert ran.code == 1 and "needs" in ran.err and ran.err.endswith("transpose it\n")
    assert "a row a picture and a column a caption" in ran.err
    save(captions, np.where(scores == scores.max(), np.nan, scores))
    ran = run(capsys, monkeypatch)
    assert ran.code == 1 and ran.err.count("\n") == 1
    assert "and caption " in ran.err and "is nan; every score must be a finite number" in ran.err
    ran = run(capsys, monkeypatch, "--source", "pears")
    assert ran.code == 1
    assert ran.err == "error: --source is pears; did you mean pairs? there are: pairs\n"
