"""Experiments in temporary workspaces, one and several at a time, on own data."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import patience
from tests.pipeline.project import Project, commit, copy_project, ran, tiny_pairs

pytestmark = pytest.mark.long
KEY = "datasets.my_pairs.temperature.alpha"
SCHEDULED = {f"{stage}@my_pairs-info_nce_mmts" for stage in ("train", "evaluate")} | {"report"}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Iterator[Project]:
    """A tiny project that has run, whose raw data DVC tracks and whose weights lie outside."""
    project = copy_project(tmp_path_factory.mktemp("tracked"))
    project.use(warm_commands)
    tiny_pairs(project)
    weights = tmp_path_factory.mktemp("weights") / "cnn.safetensors"
    (project.folder / "data/weights/cnn.safetensors").rename(weights)
    project.set(datasets__my_pairs__towers__vision__weights=str(weights))
    project.set(grid__methods=["info_nce", "info_nce_mmts"])
    project.run("dvc add --quiet data/raw/my_pairs")
    commit(project)
    project.repro()
    commit(project)
    yield project
    project.run("dvc queue stop --kill --quiet || true")


def alphas(project: Project) -> dict[str, float]:
    """The parameter of each experiment by its name."""
    (shown,) = json.loads(project.run("dvc exp show --json"))[1:]
    found = {}
    for experiment in shown["experiments"] or ():
        data = experiment["revs"][0]["data"]
        tree = data["params"]["params.yaml"]["data"]
        found[experiment["name"]] = tree["datasets"]["my_pairs"]["temperature"]["alpha"]
    return found


def test_a_temporary_workspace_has_the_data_that_dvc_tracks(tracked: Project) -> None:
    output = tracked.run(f"dvc exp run --temp --name apart -S {KEY}=0.041")
    assert ran(output) == SCHEDULED
    assert alphas(tracked)["apart"] == 0.041
    assert tracked.run("git status --porcelain") == ""


def test_a_queue_of_two_at_a_time(
    tracked: Project, monkeypatch: pytest.MonkeyPatch, warm_commands: Path, tmp_path: Path
) -> None:
    for name, alpha in (("first", 0.042), ("second", 0.043)):
        tracked.run(f"dvc exp run --queue --name {name} -S {KEY}={alpha}")
    # its workers stay behind: they must not keep our pipe open, nor be forks of a warm process
    (tmp_path / "python").symlink_to(warm_commands / "python")  # for the stages
    with monkeypatch.context() as patch:
        patch.setitem(tracked.env, "PATH", f"{tmp_path}{os.pathsep}{tracked.cold_path}")
        tracked.run("dvc queue start -j 2 > /dev/null 2>&1 < /dev/null")
    until = time.monotonic() + patience.seconds(300)
    while "Queued" in (status := tracked.run("dvc queue status")) or "Running" in status:
        assert time.monotonic() < until, status
        time.sleep(1)
    logs = "\n".join(tracked.run(f"dvc queue logs {name}") for name in ("first", "second"))
    assert status.count("Success") == 2, logs
    found = alphas(tracked)
    assert (found["first"], found["second"]) == (0.042, 0.043)


def test_data_outside_are_named_by_absolute_paths(tracked: Project, tmp_path: Path) -> None:
    """A change of the table is seen, too."""
    raw = tracked.folder / "data/raw/my_pairs"
    table = tmp_path / "pairs/captions.csv"
    tracked.run(f"cp -r {raw} {tmp_path / 'pairs'}")
    tracked.run("git rm -q data/raw/my_pairs.dvc && rm -rf data/raw/my_pairs")
    tracked.set(datasets__my_pairs__captions__sources__my_pairs__path=str(table))
    commit(tracked)
    output = tracked.run(f"dvc exp run --temp --name outside -S {KEY}=0.044")
    assert "captions@my_pairs" in ran(output) and ran(output) >= SCHEDULED
    tracked.repro("embed@my_pairs")
    table.write_text(table.read_text().replace("a red square", "a dark red square"))
    assert tracked.repro("embed@my_pairs") == {"captions@my_pairs", "embed@my_pairs"}
