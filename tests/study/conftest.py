"""A study of the tiny project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import stages.study
from mmts.study import session
from mmts.study.plan import Plan
from mmts.study.pool import Record, Task
from mmts.study.run import opened, run_cell
from mmts.study.settings import load_study
from tests.conftest import Project
from tests.making import changed, write_params, write_plan

STUDY: dict[str, Any] = {
    "datasets": ["tiny"],
    "trials": 2,
    "seeds": {"trials": [10], "results": [0, 1], "ablations": [0]},
    "methods": {
        "base": {"grids": [{"centre": [0.05, 0.5]}]},
        "mmts": {
            "grids": [
                {"centre": [0.1], "alpha_share": [0.5], "spread": [0.25]},
                {"centre": [0.2], "alpha_share": [0.5], "spread": [0.5]},
            ]
        },
    },
    "ablations": {
        "seeds": {"methods": ["mmts"], "grid": {"clustering.seed": [1]}, "all_seeds": True},
        "components": {"methods": ["base", "mmts"], "tuned": False},
        "controls": {"methods": ["mmts"], "grid": {"control": ["reversed", "random"]}},
        "imbalance": {"methods": ["base"], "grid": {"imbalance": [1, 3]}},
        "ranges": {"methods": ["mmts"], "grid": {"shifts": [[0.1, 0.3]], "alpha": [0.08, 0.3]}},
    },
    "tail": {"classes": 3, "largest_ratio": 3, "batch_size": 2, "steps": 6},
}
FILE = Path("study/params.yaml")


def write_study(**changes: object) -> Path:
    """study/params.yaml with changes; `__` in a name stands for a dot."""
    FILE.parent.mkdir(exist_ok=True)
    keys = {name.replace("__", "."): value for name, value in changes.items()}
    return write_params(FILE, changed(STUDY, keys))


def planned() -> Plan:
    return Plan(load_study(FILE), "tiny", str(FILE))


@pytest.fixture
def study(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The tiny project with a study, and one clustering for both methods; its stages have run."""
    project.params = changed(project.params, {"methods.mmts.clustering": ...})
    project.set()
    write_study()
    monkeypatch.setattr(stages.study, "PREPARED", ())
    monkeypatch.setattr(stages.study, "stage", lambda _: write_plan(project.root))
    opened.cache_clear()
    yield project
    opened.cache_clear()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are trained one after the other in this process, which has imported all."""

    def run_all(tasks: Mapping[str, Task], towers: Any, processes: int, keep: Any) -> None:
        for key, (cell, test) in tasks.items():
            record: Record = run_cell(key, cell, towers[cell.dataset], test)
            keep(record)

    monkeypatch.setattr(session, "run_all", run_all)
