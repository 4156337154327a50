"""What reruns when a number changes: the stages that read it and what follows, nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import patience
from tests.faults import mounts
from tests.faults.watching import watch_all
from tests.pipeline.project import Project, commit, copy_project, tiny_pairs

pytestmark = pytest.mark.long
CELLS = {
    f"{stage}@my_pairs-{method}-0"
    for stage in ("train", "evaluate")
    for method in ("info_nce", "info_nce_mmts")
}
MMTS_CELL = {"train@my_pairs-info_nce_mmts-0", "evaluate@my_pairs-info_nce_mmts-0"}
SHIFTS = {"shift@my_pairs-info_nce", "shift@my_pairs-info_nce_mmts"}
ONCE = {"captions@my_pairs", "embed@my_pairs", "cluster@my_pairs", "pack@my_pairs"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """A tiny project whose pipeline has run once, in interpreters of its own and no network."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    tiny_pairs(project)
    commit(project)
    start, path = tmp_path_factory.mktemp("start"), project.env.get("PYTHONPATH", "")
    watch_all(start, start / "connections")
    project.before, project.env["PYTHONPATH"] = mounts.no_network, f"{start}{os.pathsep}{path}"
    assert project.repro() == ONCE | SHIFTS | CELLS | {"report"}
    project.before, project.env["PYTHONPATH"] = None, path
    assert not (start / "connections").exists(), (start / "connections").read_text()
    commit(project)
    project.use(warm_commands)
    return project


@pytest.fixture
def project(finished: Project) -> Iterator[Project]:
    """The finished project; parameters, lock and outputs are put back afterwards."""
    yield finished
    finished.run("git checkout -q . && git clean -fdq results && dvc checkout --quiet --force")


def test_nothing_changed_nothing_runs(project: Project) -> None:
    assert project.repro() == set()


def test_alpha_reruns_its_methods_cells_and_the_report_and_back_only_the_report(
    project: Project,
) -> None:
    project.set(methods__info_nce_mmts__alpha=0.05)
    assert project.repro() == MMTS_CELL | {"report"}
    project.set(methods__info_nce_mmts__alpha=0.06)
    back = project.run("dvc repro")
    assert "Running stage 'report'" in back
    assert "Running stage 'train" not in back and "Running stage 'evaluate" not in back


@pytest.mark.parametrize(("name", "value"), [("shift_min", 0.06), ("shift_mapping", "log")])
def test_shift_min_and_the_mapping_rerun_also_its_shift(
    project: Project, name: str, value: float | str
) -> None:
    project.set(**{f"methods__info_nce_mmts__{name}": value})
    assert project.repro() == {"shift@my_pairs-info_nce_mmts"} | MMTS_CELL | {"report"}


def test_an_automatic_alpha_leaves_the_shift(project: Project) -> None:
    project.set(methods__info_nce_mmts__alpha="auto")
    assert project.repro() == MMTS_CELL | {"report"}


def test_a_datasets_own_alpha_reruns_no_other_method(project: Project) -> None:
    project.set(datasets__my_pairs__methods__info_nce_mmts={"alpha": 0.02})
    assert project.repro() - {"shift@my_pairs-info_nce_mmts"} == MMTS_CELL | {"report"}


def test_the_reports_settings_rerun_only_the_report(project: Project) -> None:
    project.set(report__tsne_points=90)
    assert project.repro() == {"report"}


def test_k_touches_neither_captions_nor_embedding(project: Project) -> None:
    project.set(datasets__my_pairs__clusterings__default__k=3)
    assert project.repro() == {"cluster@my_pairs", "pack@my_pairs"} | SHIFTS | CELLS | {"report"}


def test_another_clustering_does_not_train_again(project: Project) -> None:
    colours = {"kind": "column", "column": "colour"}
    project.set(datasets__my_pairs__clusterings__colours=colours)
    assert project.repro() == {"cluster@my_pairs"} | SHIFTS | {"report"}
    project.set(methods__info_nce_mmts__clustering="colours")
    assert project.repro() == {"shift@my_pairs-info_nce_mmts"} | MMTS_CELL | {"report"}


def test_a_learning_rate_reruns_training_alone(project: Project) -> None:
    project.set(datasets__my_pairs__train__learning_rate=0.002)
    assert project.repro() == CELLS | {"report"}


def test_more_seeds_run_only_the_new_cells(project: Project) -> None:
    project.set(grid__seeds=[0, 1])
    assert project.repro() == {cell[:-1] + "1" for cell in CELLS} | {"report"}


def test_experiments_stand_side_by_side(project: Project) -> None:
    project.run("dvc exp run --name wider -S methods.info_nce_mmts.shift_max=0.10")
    table = project.run("dvc exp show --csv --only-changed")
    head, *rows = table.strip().splitlines()
    assert any("wider" in row for row in rows) and any("workspace" in row for row in rows)
    columns = head.split(",")
    assert "methods.info_nce_mmts.shift_max" in columns
    assert len(columns) <= 20, columns


def test_a_bad_cell_fails_in_one_line_and_leaves_the_old_one(project: Project) -> None:
    project.set(methods__info_nce_mmts__alpha=0.2)
    output = project.run("dvc repro", ok=False)
    assert "methods.info_nce_mmts: shift_min - alpha/2" in output
    assert "Traceback" not in output
    leftovers = list((project.folder / "data/train/my_pairs/info_nce_mmts").glob(".*"))
    assert leftovers == [p for p in leftovers if p.name == ".gitignore"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("report__bootstrap", -1, "report.bootstrap is -1"),
        (
            "methods__info_nce_mmts__shift_mx",
            0.1,
            "methods.info_nce_mmts.shift_mx is not a setting",
        ),
        ("datasets__my_pairs__methods__info_nce_mts", {}, "datasets.my_pairs.methods.info_nce_mts"),
    ],
)
def test_a_mistake_in_any_key_is_found_before_another_stage_runs(
    project: Project, key: str, value: object, said: str
) -> None:
    project.set(methods__info_nce_mmts__alpha=0.05, **{key: value})
    output = project.run("dvc repro", ok=False)
    assert said in output and "Traceback" not in output
    assert re.findall("Running stage '([^']+)'", output) == ["check"]


def test_the_plots_hold_every_cell(project: Project) -> None:
    project.run("dvc plots show")
    page = (project.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
    for cell in ("info_nce/0", "info_nce_mmts/0"):
        assert cell in page
    for title in ("training loss", "mean tau of the batch", "validation rsum"):
        assert title in page


def test_the_dag_has_nine_stages(project: Project) -> None:
    dag = project.run("dvc dag --collapse-foreach-matrix --dot")
    stages = {
        "check",
        "captions",
        "embed",
        "cluster",
        "shift",
        "pack",
        "train",
        "evaluate",
        "report",
    }
    edges = [line for line in dag.splitlines() if "->" in line]
    named = {word.strip(' ";') for line in edges for word in line.split("->")}
    assert named == stages


def test_a_link_as_raw_folder_is_followed(project: Project, tmp_path: Path) -> None:
    raw = project.folder / "data/raw/my_pairs"
    raw.rename(tmp_path / "elsewhere")
    raw.symlink_to(tmp_path / "elsewhere")
    assert project.repro() <= {"captions@my_pairs", "pack@my_pairs"}
    raw.unlink()
    (tmp_path / "elsewhere").rename(raw)


def test_a_second_repro_says_that_one_is_at_work(project: Project, tmp_path: Path) -> None:
    """And harms nothing: the first one finishes."""
    results = {p: p.read_bytes() for p in (project.folder / "results").glob("*.*")}
    command = ["dvc", "repro", "--force", "--single-item", "report"]
    gate = tmp_path / "gate"  # until it is there, the stage of the first one waits
    python = shutil.which("python", path=project.env["PATH"])
    (tmp_path / "python").write_text(
        f'#!/bin/sh\nwhile [ ! -e "{gate}" ]; do sleep 0.05; done\nexec "{python}" "$@"\n'
    )
    (tmp_path / "python").chmod(0o755)
    environment = {**project.env, "PATH": f"{tmp_path}{os.pathsep}{project.env['PATH']}"}
    path = shutil.which("dvc", path=project.env["PATH"])
    first = subprocess.Popen(
        [str(path), *command[1:]], cwd=project.folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lock = project.folder / ".dvc/tmp/rwlock"
    while "results" not in (lock.read_text() if lock.exists() else ""):
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    said = project.run(" ".join(command), ok=False)
    gate.touch()
    assert "is busy, it is being blocked by" in said or "Unable to acquire lock" in said, said
    said, _ = first.communicate(timeout=patience.seconds(120))
    assert first.returncode == 0, said
    assert {p: p.read_bytes() for p in results} == results
