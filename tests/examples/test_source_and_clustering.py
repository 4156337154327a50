"""Examples `folder`, a new source, and `hdbscan`, a clustering with noise, on one project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import HDBSCAN

from mmts.metrics.longtail import parts_of_clusters
from tests.examples.adding import tiny
from tests.pipeline.project import Project

pytestmark = pytest.mark.long
NAME = "my_pictures"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """The pipeline with both, after a run."""
    project = tiny(
        tmp_path_factory.mktemp("project"), "hdbscan", "folder",
        methods=["info_nce", "info_nce_mmts"],
    )  # fmt: skip
    raw = project.folder / "data/raw"
    rows = pd.read_csv(raw / "my_pairs/captions.csv").drop_duplicates("image")
    (raw / NAME / "images").mkdir(parents=True)
    for image, caption in zip(rows["image"], rows["caption"], strict=True):
        shutil.copy(raw / "my_pairs" / image, raw / NAME / f"images/{caption}.png")
    (raw / NAME / "images/notes.txt").write_text("no picture")
    project.use(warm_commands)
    project.run("dvc repro 2>&1 | tee log.txt")
    return project


def page(project: Project) -> str:
    return (project.folder / "results/index.html").read_text(encoding="utf-8")


def table(project: Project, name: str) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "data" / name)


def test_the_source_is_read(project: Project) -> None:
    rows = table(project, f"captions/{NAME}/captions.parquet")
    assert len(rows) == 64 and set(rows["source"]) == {"squares"}
    names = {path.stem for path in project.folder.glob(f"data/raw/{NAME}/images/*.png")}
    assert set(rows["caption"]) == names and set(rows["sample_id"]) <= {f"{n}.png" for n in names}
    assert set(rows["split"]) == {"train", "val", "test"}
    plan = json.loads((project.folder / f"data/plan/{NAME}/captions.json").read_text())
    assert list(plan["kinds"]) == ["mmts.kinds.source.folder"] and plan["files"] == {}


def test_the_page_credits_it_and_shows_its_pictures(project: Project) -> None:
    found = page(project)
    assert f"<dt>{NAME}: squares</dt><dd>Squares by A. Painter, CC0.</dd>" in found
    assert "may not be published" not in found and "Not for publication" not in found
    assert not list((project.folder / "results/local").glob("*.html"))
    assert "a red square number" in found and 'src="data:image/' in found


def test_noise_is_clusters_of_one_caption(project: Project) -> None:
    captions = table(project, f"captions/{NAME}/captions.parquet")
    found = table(project, f"cluster/{NAME}/default.parquet")
    facts = json.loads((project.folder / f"data/cluster/{NAME}/default.json").read_text())
    train = (captions["split"] == "train").to_numpy()
    folder = project.folder / "data/embed" / NAME
    vectors = np.load(folder / "text.npy")[np.load(folder / "caption_text.npy")]
    labels = HDBSCAN(min_cluster_size=5, copy=True).fit_predict(vectors[train])
    noise, k = int((labels == -1).sum()), int(labels.max()) + 1
    assert 0 < noise < train.sum() and k > 1, (noise, k)
    assert (facts["noise"], facts["k"], facts["label"]) == (noise, k, "HDBSCAN")
    trained = found[train]
    assert (trained.loc[labels == -1, "cluster_size"] == 1).all()
    assert sorted(trained.loc[labels == -1, "cluster_id"]) == list(range(k, k + noise))
    sizes = trained["cluster_id"].value_counts()
    assert (trained["cluster_size"] == trained["cluster_id"].map(sizes)).all()
    assert trained["cluster_id"].max() == k + noise - 1 and (trained["cluster_id"] >= 0).all()
    held_out = found[~train]
    unknown = held_out["cluster_id"] == -1
    assert ((held_out["cluster_size"] == 0) == unknown).all()
    assert (held_out.loc[~unknown, "cluster_id"] < k).all()
    assert f"default: {k} clusters of " in (log := (project.folder / "log.txt").read_text())
    assert f"; {noise} are noise, each a cluster of its own" in log


def test_noise_has_the_smallest_shift(project: Project) -> None:
    """Eq. 6 sees a cluster of size 1, and the noise is in the tail."""
    shifts = table(project, f"shift/{NAME}/info_nce_mmts/shift.parquet")
    found = table(project, f"cluster/{NAME}/default.parquet")
    assert len(shifts) == found.loc[found["cluster_id"] >= 0, "cluster_id"].nunique()
    assert (shifts.loc[shifts["cluster_size"] == 1, "shift"] == 0.05).all()
    assert shifts["shift"].max() == 0.09
    parts = parts_of_clusters(dict(zip(shifts["cluster_id"], shifts["cluster_size"], strict=True)))
    assert {parts[c] for c in shifts.loc[shifts["cluster_size"] == 1, "cluster_id"]} <= {
        "medium", "tail",
    }  # fmt: skip


def test_the_page_says_how_much_is_noise(project: Project) -> None:
    facts = json.loads((project.folder / f"data/cluster/{NAME}/default.json").read_text())
    captions = table(project, f"captions/{NAME}/captions.parquet")
    noise, count = facts["noise"], int((captions["split"] == "train").sum())
    line = (
        f"The clustering default (HDBSCAN) takes {noise} of {count} training captions "
        f"({100 * noise / count:.1f} %) for noise; each is a cluster of its own, of size 1."
    )
    assert line in page(project)
    assert line in (project.folder / f"results/{NAME}.md").read_text(encoding="utf-8")
    assert "K-Means" not in page(project)


def test_an_edit_of_one_runs_what_names_it(project: Project) -> None:
    project.run("git add -A && git commit -qm done")
    kind = "mmts/kinds/clustering/hdbscan.py"
    project.edit(kind, "copy=True", "copy=True, metric='euclidean'")
    assert project.repro() == {f"cluster@{NAME}"}
    project.edit("mmts/kinds/source/folder.py", '(".jpg", ".png")', '(".png", ".jpg")')
    assert project.repro() == {f"captions@{NAME}"}
