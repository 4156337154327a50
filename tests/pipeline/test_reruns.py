"""What reruns when a number changes: the stages that read it and what follows, nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import patience
from tests.pipeline.project import Project, commit, copy_project, ran, tiny_pairs, write_cnn

pytestmark = pytest.mark.long
METHODS = ("info_nce", "info_nce_ts", "info_nce_mmts")


def cells(*methods: str) -> set[str]:
    """Training and evaluation of some methods, and the report."""
    stages = {f"{stage}@my_pairs-{m}" for stage in ("train", "evaluate") for m in methods}
    return stages | {"report"}


CELLS, SCHEDULED = cells(*METHODS), cells("info_nce_ts", "info_nce_mmts")
CAPTIONS, EMBED, CLUSTER, PACK, SHIFT = (
    f"{stage}@my_pairs" for stage in ("captions", "embed", "cluster", "pack", "shift")
)


TRAININGS = {f"train@my_pairs-{method}" for method in METHODS}


def changed(project: Project) -> set[str]:
    """The stages that `dvc repro` would begin with, by `dvc status` after a new plan."""
    project.run("dvc repro plan")
    return set(re.findall(r"^(\w+@[\w-]+):", project.run("dvc status"), re.MULTILINE))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """A tiny project whose pipeline has run once."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    tiny_pairs(project)
    commit(project)
    project.use(warm_commands)
    assert project.repro() == {CAPTIONS, EMBED, CLUSTER, PACK, SHIFT} | CELLS
    commit(project)
    return project


@pytest.fixture
def project(finished: Project) -> Iterator[Project]:
    """The finished project; parameters, lock and outputs are put back afterwards."""
    yield finished
    finished.run("git checkout -q . && git clean -fdq results && dvc checkout --quiet --force")


def test_nothing_changed_nothing_runs(project: Project) -> None:
    assert project.repro() == set()
    assert project.run("git status --porcelain dvc.lock results") == ""


# --- code --------------------------------------------------------------------------------------


def test_comments_and_docstrings_run_nothing(project: Project) -> None:
    for name in ("mmts/files.py", "mmts/training/loop.py", "mmts/losses/info_nce.py"):
        path = project.folder / name
        _, _, rest = path.read_text().partition('"""')
        path.write_text(f'# a comment\n"""Another docstring. {rest}\n# the end\n')
    assert project.repro() == set()


def test_a_change_of_what_no_cell_names_runs_nothing(project: Project) -> None:
    """Of another loss, modulator, tower and source."""
    for name in ("losses/siglip", "modulators/tempnet", "towers/pictures", "sources/cc3m"):
        with open(project.folder / f"mmts/{name}.py", "a") as file:
            file.write("\nNEW = 1\n")
    assert project.repro() == set()


def test_a_default_reruns_what_does_not_set_it(project: Project) -> None:
    """As a version of the project with other defaults does."""
    settings = "mmts/settings/training.py"
    project.edit(settings, "epochs: Positive = 30", "epochs: Positive = 40")
    assert project.repro() == set()  # my_pairs has its own number
    project.edit(settings, "min_learning_rate: Annotated[float, Field(ge=0)] = 0.0",
                 "min_learning_rate: Annotated[float, Field(ge=0)] = 1e-5")  # fmt: skip
    assert changed(project) == TRAININGS
    project.edit("mmts/kinds/clustering/kmeans.py", "starts: Positive = 1", "starts: Positive = 2")
    assert changed(project) == {CLUSTER} | TRAININGS


def test_a_new_module_of_the_training_loop_trains_all(project: Project) -> None:
    (project.folder / "mmts/training/extra.py").write_text('"""New."""\n\nRATE = 0.5\n')
    loop = project.folder / "mmts/training/loop.py"
    text = loop.read_text()
    loop.write_text(
        text.replace("import torch\n", "import torch\nfrom mmts.training.extra import RATE\n", 1)
    )
    assert changed(project) == TRAININGS
    code = project.folder / "data/plan/code/train"
    before = code.read_text()
    (project.folder / "mmts/training/extra.py").write_text('"""New."""\n\nRATE = 0.25\n')
    assert changed(project) == TRAININGS and code.read_text() != before


def test_a_new_loss_runs_its_own_cells(project: Project) -> None:
    kind = project.folder / "mmts/kinds/objective/doubled.py"
    text = (kind.parent / "info_nce.py").read_text()
    kind.write_text(
        text.replace('Literal["info_nce"]', 'Literal["doubled"]').replace(
            "            info_nce, label_smoothing",
            "            lambda *a, **k: 2 * info_nce(*a, **k), label_smoothing",
        )
    )
    project.set(
        methods__doubled={"objective": "doubled", "shift": "linear"},
        grid__methods=[*METHODS, "doubled"],
    )
    assert project.repro() == {SHIFT} | cells("doubled")
    kind.write_text(kind.read_text().replace("2 *", "3 *"))
    assert changed(project) == {"train@my_pairs-doubled"}


# --- settings ----------------------------------------------------------------------------------


def test_how_it_is_done_runs_nothing(project: Project) -> None:
    project.set(
        datasets__my_pairs__train__workers=1, datasets__my_pairs__pack__workers=1,
        datasets__my_pairs__evaluate__workers=1,
        datasets__my_pairs__train__launcher=["torchrun", "--standalone", "--nproc-per-node", "1"],
        datasets__my_pairs__train__checkpoint={"every_steps": 5},
    )  # fmt: skip
    assert project.repro() == set()


def test_alpha_reruns_the_cells_with_a_schedule_and_back_none(project: Project) -> None:
    project.set(datasets__my_pairs__temperature__alpha=0.05)
    assert project.repro() == SCHEDULED
    project.set(datasets__my_pairs__temperature__alpha=0.06)
    back = project.run("dvc repro")
    assert "Running stage 'report'" in back
    assert "Running stage 'train" not in back and "Running stage 'evaluate" not in back


def test_shift_min_reruns_also_the_table_of_methods_with_shifts(project: Project) -> None:
    project.set(datasets__my_pairs__temperature__shift_min=0.06)
    assert project.repro() == {SHIFT} | cells("info_nce_mmts")


def test_k_reruns_clusters_and_what_follows(project: Project) -> None:
    project.set(datasets__my_pairs__clusterings__default__k=3)
    assert project.repro() == {CLUSTER, PACK, SHIFT} | CELLS


def test_another_clustering_trains_what_uses_it(project: Project) -> None:
    colours = {"kind": "column", "column": "colour"}
    project.set(datasets__my_pairs__clusterings__colours=colours)
    assert project.repro() == {CLUSTER, SHIFT, "report"}
    project.set(methods__info_nce_mmts__clustering="colours")
    assert project.repro() == {SHIFT} | cells("info_nce_mmts")


def test_the_reports_settings_rerun_only_the_report(project: Project) -> None:
    project.set(report__tsne_points=90)
    assert project.repro() == {"report"}


def test_one_more_seed_trains_only_that(project: Project) -> None:
    before = project.metrics()
    project.set(grid__seeds=[0, 1])
    output = project.run("dvc repro")
    assert ran(output) == CELLS
    assert output.count("1 of 2 seeds were trained before") == len(METHODS)
    assert project.metrics() == before
    for method in METHODS:
        assert (project.folder / f"data/evaluate/my_pairs/{method}/1/metrics.json").exists()


def test_replaced_weights_rerun_what_was_computed_with_them(project: Project) -> None:
    path = project.folder / "data/weights/cnn.safetensors"
    old = path.read_bytes()
    write_cnn(path, seed=2)
    training = "train@my_pairs-info_nce"
    assert project.repro(training) == {EMBED, CLUSTER, training}
    path.write_bytes(old)


# --- changes while a stage runs ----------------------------------------------------------------


def at_start(project: Project, folder: Path, module: str, command: str) -> None:
    """Have a shell command run when `python -m module` is started."""
    python = shutil.which("python", path=project.env["PATH"])
    (folder / "python").write_text(
        f'#!/bin/sh\ncase "$*" in *{module}*) {command};; esac\nexec "{python}" "$@"\n'
    )
    (folder / "python").chmod(0o755)
    project.env["PATH"] = f"{folder}{os.pathsep}{project.env['PATH']}"


@pytest.fixture
def path_is_kept(project: Project) -> Iterator[None]:
    before = project.env["PATH"]
    yield
    project.env["PATH"] = before


def alpha_of(project: Project) -> float:
    path = project.folder / "data/train/my_pairs/info_nce_mmts/0/run.json"
    return float(json.loads(path.read_text())["alpha"])


@pytest.mark.usefixtures("path_is_kept")
def test_params_edited_during_the_training_count_the_next_time(
    project: Project, tmp_path: Path
) -> None:
    """And what is recorded is what was used, in DVC's run cache too."""
    project.set(datasets__my_pairs__temperature__alpha=0.047)
    before = project.env["PATH"]
    at_start(project, tmp_path, "stages.train", "sed -i 's/alpha: 0.047/alpha: 0.033/' params.yaml")
    assert project.repro() == SCHEDULED and alpha_of(project) == 0.047
    project.env["PATH"] = before
    metrics = project.metrics()
    assert project.repro() == SCHEDULED and alpha_of(project) == 0.033
    assert metrics != project.metrics()
    project.set(datasets__my_pairs__temperature__alpha=0.047)
    assert "Running stage 'train" not in project.run("dvc repro")
    assert alpha_of(project) == 0.047 and project.metrics() == metrics


@pytest.mark.usefixtures("path_is_kept")
def test_code_edited_during_the_pipeline_is_refused_and_counts_the_next_time(
    project: Project, tmp_path: Path
) -> None:
    project.set(datasets__my_pairs__temperature__alpha=0.049)
    before = project.env["PATH"]
    at_start(project, tmp_path, "stages.train", "echo 'NEW = 1' >> mmts/training/loop.py")
    output = project.run("dvc repro", ok=False)
    assert "mmts/training/loop.py has changed since data/plan was written" in output
    assert "Traceback" not in output
    project.env["PATH"] = before
    training = "train@my_pairs-info_nce_mmts"
    assert project.repro(training) == {training} and alpha_of(project) == 0.049


@pytest.mark.usefixtures("path_is_kept")
def test_a_table_edited_while_it_is_read_is_no_stale_up_to_date(
    project: Project, tmp_path: Path
) -> None:
    table = "data/raw/my_pairs/captions.csv"
    text = (project.folder / table).read_bytes()
    project.set(datasets__my_pairs__captions__max_bad_share=0.1)
    work = "data/captions/.my_pairs.partial"
    edit = f"( while [ ! -e {work} ]; do :; done; echo >> {table} ) &"
    before = project.env["PATH"]
    at_start(project, tmp_path, "stages.captions", edit)
    output = project.run("dvc repro", ok=False)
    assert f"{table} has changed while `captions` was reading it" in output
    project.env["PATH"] = before
    assert CAPTIONS in project.repro()
    assert project.repro() == set()
    (project.folder / table).write_bytes(text)


# --- mistakes ----------------------------------------------------------------------------------


def test_all_mistakes_are_told_before_another_stage_runs(project: Project) -> None:
    old = {p: p.read_bytes() for p in (project.folder / "data/plan").rglob("*.json")}
    project.set(
        report__bootstrap=-1, methods__info_nce_mmts__shift_mx=0.1,
        datasets__my_pairs__train__epoch=3,
    )  # fmt: skip
    output = project.run("dvc repro", ok=False)
    for said in (
        "error: params.yaml: report.bootstrap is -1",
        "error: params.yaml: methods.info_nce_mmts.shift_mx is not a setting",
        "error: params.yaml: datasets.my_pairs.train.epoch is not a setting; did you mean epochs?",
    ):
        assert said in output
    assert "Traceback" not in output
    assert re.findall("Running stage '([^']+)'", output) == ["plan"]
    assert {p: p.read_bytes() for p in (project.folder / "data/plan").rglob("*.json")} == old


def test_a_tau_below_zero_names_its_numbers(project: Project) -> None:
    project.set(datasets__my_pairs__temperature__alpha=0.2)
    output = project.run("dvc repro", ok=False)
    assert "shift_min - alpha/2" in output and "datasets.my_pairs" in output
    assert "Traceback" not in output


def test_the_results_stay_until_new_ones_are_whole(project: Project) -> None:
    """The report fails; the old page and the local one are as they were."""
    old = {p: p.read_bytes() for p in (project.folder / "results").rglob("*") if p.is_file()}
    assert project.folder / "results/local/index.html" in old
    path = project.folder / "data/evaluate/my_pairs/info_nce/0/metrics.json"
    (path.parent / "SHA256SUMS").unlink()
    path.unlink()
    path.write_text("{}")
    project.set(report__tsne_points=80)
    project.run("dvc repro --single-item report", ok=False)
    now = {p: p.read_bytes() for p in (project.folder / "results").rglob("*") if p.is_file()}
    assert now == old


def test_the_plan_lies_beside_the_results_and_the_page_links_it(project: Project) -> None:
    plan = project.folder / "results/plan/my_pairs/info_nce_mmts.json"
    assert (
        plan.read_bytes()
        == (project.folder / "data/plan/my_pairs/info_nce_mmts/train.json").read_bytes()
    )
    page = (project.folder / "results/index.html").read_text(encoding="utf-8")
    assert 'href="plan/my_pairs/info_nce_mmts.json"' in page


def test_status_previews_what_an_edit_would_run(project: Project) -> None:
    project.set(datasets__my_pairs__temperature__alpha=0.05)
    assert changed(project) == {"train@my_pairs-info_nce_ts", "train@my_pairs-info_nce_mmts"}


# --- experiments -------------------------------------------------------------------------------


def test_experiments_stand_side_by_side(project: Project) -> None:
    key = "datasets.my_pairs.temperature.shift_max"
    project.run(f"dvc exp run --name wider -S {key}=0.10")
    assert project.run("git diff --stat params.yaml").endswith(
        " 1 file changed, 1 insertion(+), 1 deletion(-)\n"
    )
    table = project.run("dvc exp show --csv --only-changed")
    head, *rows = table.strip().splitlines()
    assert any("wider" in row for row in rows) and any("workspace" in row for row in rows)
    columns = head.split(",")
    assert key in columns
    assert len(columns) <= 30, columns
    assert key in project.run("dvc params diff")


def test_the_plots_hold_every_cell(project: Project) -> None:
    project.run("dvc plots show")
    page = (project.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
    for cell in ("info_nce/0", "info_nce_mmts/0"):
        assert cell in page
    for title in ("training loss", "mean tau of the batch", "validation", "t2v_R@1"):
        assert title in page


def test_the_dag_has_nine_stages(project: Project) -> None:
    dag = project.run("dvc dag --collapse-foreach-matrix --dot")
    stages = {
        "plan",
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
