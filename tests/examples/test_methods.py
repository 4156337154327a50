"""A loss, a schedule, a shift, a modulator and a loss term of one's own, in one project."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.examples.adding import module_of, tiny
from tests.pipeline.project import Project, commit
from tests.pipeline.test_reruns import changed

pytestmark = pytest.mark.long
METHODS = (
    "info_nce", "info_nce_mmts", "decoupled_mmts", "triangle_mmts", "info_nce_root",
    "info_nce_per_cluster", "info_nce_uniform",
)  # fmt: skip
STEPS, ALPHA, LOW, HIGH = 10, 0.06, 0.05, 0.09  # numbers of my_pairs
TRIANGLE = "mmts/kinds/schedule/triangle.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """A tiny project in which the five have run."""
    folder = tmp_path_factory.mktemp("project") / "copy"
    names = ("decoupled", "triangle", "root", "per_cluster", "uniformity")
    found = tiny(folder, *names, methods=list(METHODS))
    found.set(
        datasets__my_pairs__train__epochs=STEPS,
        datasets__my_pairs__train__warmup_steps=0,
        methods__triangle_mmts__schedule__oscillations=1,
    )
    commit(found)
    found.use(warm_commands)
    found.repro()
    commit(found)
    return found


def curves(project: Project, method: str) -> pd.DataFrame:
    return pd.read_csv(project.folder / f"data/train/my_pairs/{method}/0/curves.csv")


def page(project: Project) -> str:
    return html.unescape((project.folder / "results/index.html").read_text(encoding="utf-8"))


# --- the numbers ---------------------------------------------------------------------------------


def slow_decoupled(vision: Tensor, text: Tensor, taus: Any, positives: Tensor) -> Tensor:
    """Equation 6 of arXiv 2110.06848, term by term."""
    losses = []
    for anchors, others, tau, true in (
        (vision, text, taus[0], positives), (text, vision, taus[1], positives.T),
    ):  # fmt: skip
        for i, anchor in enumerate(anchors):
            pair = anchor @ others[i] / tau[i]
            negatives = [
                torch.exp(anchor @ others[j] / tau[i])
                for j in range(len(others))
                if j != i and not true[i, j]
            ]
            losses.append(torch.log(sum(negatives, torch.zeros(()))) - pair)
    return torch.stack(losses).mean()


def test_the_decoupled_loss_and_its_gradients() -> None:
    decoupled = module_of("decoupled").decoupled
    random = torch.Generator().manual_seed(0)

    def rows() -> Tensor:
        made = torch.randn(6, 4, generator=random, dtype=torch.float64)
        return torch.nn.functional.normalize(made, dim=1).requires_grad_()

    vision, text = rows(), rows()
    taus = tuple(
        (torch.rand(6, generator=random, dtype=torch.float64) / 5 + 0.05).requires_grad_()
        for _ in range(2)
    )
    positives = torch.zeros(6, 6, dtype=torch.bool)
    positives[0, 3] = positives[2, 2] = True
    leaves = (vision, text, *taus)
    found = decoupled(vision, text, taus, positives=positives)
    wanted = slow_decoupled(vision, text, taus, positives)
    torch.testing.assert_close(found, wanted)
    slopes = torch.autograd.grad(found, leaves), torch.autograd.grad(wanted, leaves)
    torch.testing.assert_close(*slopes)
    alone = torch.ones(6, 6, dtype=torch.bool)  # nothing to push away
    assert decoupled(vision, text, 0.1, positives=alone).item() == 0


def test_by_hand() -> None:
    """Two orthogonal pairs: log exp(0) - 1 / tau."""
    rows = torch.eye(2)
    assert module_of("decoupled").decoupled(rows, rows, 0.25).item() == pytest.approx(-4)
    triangle = module_of("triangle").Kind(kind="triangle")
    values = [triangle.value(s, alpha=0.4, period=8) for s in range(9)]
    assert values == pytest.approx([0.2, 0.1, 0, -0.1, -0.2, -0.1, 0, 0.1, 0.2])
    root = module_of("root").Kind(kind="root")
    places = root.place(np.array([1.0, 4.0, 16.0]), size_min=1.0, size_max=16.0, sizes=None)
    assert places.tolist() == pytest.approx([0, 1 / 3, 1])


def test_tau_is_a_triangle(project: Project) -> None:
    found = curves(project, "triangle_mmts")
    wanted = [ALPHA * (abs(2 * step / STEPS - 1) - 0.5) for step in range(STEPS)]
    np.testing.assert_allclose(found["tau_min"], LOW + np.array(wanted), rtol=1e-5)
    np.testing.assert_allclose(found["tau_max"], HIGH + np.array(wanted), rtol=1e-5)
    run = json.loads((project.folder / "data/train/my_pairs/triangle_mmts/0/run.json").read_text())
    assert run["schedule"] == {"kind": "triangle", "oscillations": 1.0, "update_every": "step"}
    assert run["period"] == STEPS


def test_the_first_loss_has_no_positive_in_its_denominator(project: Project) -> None:
    """The same weights and batch: all that differs is what the denominator leaves out."""
    decoupled, info_nce = (curves(project, f"{m}_mmts")["loss"] for m in ("decoupled", "info_nce"))
    assert decoupled[0] < info_nce[0]


def test_shifts_by_the_root(project: Project) -> None:
    found = pd.read_parquet(project.folder / "data/shift/my_pairs/info_nce_root/shift.parquet")
    root = found["cluster_size"] ** 0.5
    place = (root - root.min()) / (root.max() - root.min())
    np.testing.assert_allclose(found["shift"], LOW + (HIGH - LOW) * place)


def test_a_temperature_a_cluster_is_learned(project: Project) -> None:
    from safetensors.torch import load_file

    folder = project.folder / "data/train/my_pairs/info_nce_per_cluster/0"
    learned = 0.01 + load_file(folder / "state.safetensors")["modulator.log_above"].exp()
    table = project.folder / "data/shift/my_pairs/info_nce_per_cluster/shift.parquet"
    start = torch.tensor(pd.read_parquet(table)["shift"].to_numpy(), dtype=torch.float32)
    moved = (learned - start).abs()
    assert len(learned) == 4 and (moved > 1e-6).all() and (moved < 0.02).all()


def test_the_log_has_the_value_of_a_term(project: Project) -> None:
    found = curves(project, "info_nce_uniform").dropna(subset=["loss"])
    np.testing.assert_allclose(found["loss"], found["info_nce"] + 0.5 * found["uniformity"])
    assert (found["uniformity"] < 0).all() and len(found) == STEPS
    plain = curves(project, "info_nce_mmts")
    assert "uniformity" not in plain and plain["loss"].iloc[0] == found["info_nce"].iloc[0]


# --- the page ------------------------------------------------------------------------------------


def test_the_page_tells_each_as_what_it_is(project: Project) -> None:
    shown = page(project)
    (alt,) = re.findall(r'alt="(Lines for the largest, median and [^"]*)"', shown)
    spread = rf"shifts from {LOW} \(\d+ captions\) to {HIGH} \(\d+ captions\)"
    for told in (
        rf"info_nce_mmts \(InfoNCE, τ 0.02–0.12\): 5 cosine waves of height {ALPHA}, {spread}",
        rf"decoupled_mmts \(decoupled InfoNCE, τ 0.02–0.12\): 5 cosine waves of .*?, {spread}",
        rf"triangle_mmts \(InfoNCE, τ 0.02–0.12, triangle\): 1 triangle wave of .*?, {spread}",
        r"info_nce_root \(InfoNCE, τ 0.02–0.12, shifts by the square root of the size\): 5 cosi",
        r"info_nce_per_cluster \(InfoNCE, learned τ 0.0\d+–0.0\d+\): batch mean from 0.0\d+ to",
    ):
        assert re.search(told, alt), (told, alt)
    assert (
        "the cosine schedule (Eq. 7) or the triangle schedule plus the shift of the sample's "
        "cluster (Eq. 8; Eq. 6 but for shifts by the square root of the size), or one line"
    ) in shown
    table = (project.folder / "results/my_pairs.md").read_text(encoding="utf-8")
    assert "| decoupled\\_mmts | decoupled InfoNCE, τ 0.02–0.12 | " in table
    assert "| triangle\\_mmts | InfoNCE, τ 0.02–0.12, triangle | " in table


def test_curves_plots_and_page_have_the_term(project: Project) -> None:
    terms = pd.read_csv(project.folder / "results/terms.csv")
    by_method = terms.groupby("method")["name"].unique().map(list).to_dict()
    assert by_method["info_nce_uniform"] == ["info_nce", "uniformity"]
    assert by_method["info_nce"] == by_method["info_nce_mmts"] == ["info_nce"]
    assert "uniformity" in pd.read_csv(project.folder / "results/curves.csv")
    table = (project.folder / "results/my_pairs.md").read_text(encoding="utf-8")
    row, *_ = re.findall(r"^\| info\\_nce\\_uniform \| ([^|]*) \|", table, re.MULTILINE)
    assert row.startswith("InfoNCE, τ ") and row.endswith(", plus 0.5 × uniformity")
    (alt,) = re.findall(r"!\[(Training curves[^\]]*)\]", table)
    assert re.search(r"info\\_nce\\_uniform: loss from [\d.]+ to [\d.]+, uniformity from -", alt)
    assert (project.folder / "results/figures/my_pairs-training.png").exists()


def test_the_figure_draws_a_triangle(project: Project) -> None:
    """From the project's own folder, whose registry has one."""
    code = """
from matplotlib.figure import Figure
from pathlib import Path
from mmts.reporting.figure_tau import _scheduled
from mmts.reporting.load import load_dataset

dataset = load_dataset(Path("data"), "my_pairs", methods=["triangle_mmts"], seeds=[0])
axes = Figure().subplots()
_scheduled(axes, dataset, "triangle_mmts")
y = axes.lines[0].get_ydata()
bent = abs(abs(y[1:] - y[:-1]) - 2 * 0.06 / 399) > 1e-9
print(len(axes.lines), y[0], y.min(), y[-1], bent.sum())
"""
    (project.folder / "drawn.py").write_text(code)
    found = [float(n) for n in project.run("PYTHONPATH=. python drawn.py").split()]
    (project.folder / "drawn.py").unlink()
    half = ALPHA / 2
    assert found == pytest.approx([3, HIGH + half, HIGH - half, HIGH + half, 1], abs=2e-4)


# --- what runs again, and what is refused --------------------------------------------------------


@pytest.fixture
def edited(project: Project) -> Any:
    """The project; its files and outputs are put back."""
    yield project
    project.run("git checkout -q . && dvc checkout --quiet --force")


def test_an_edit_of_a_kind_runs_what_names_it(edited: Project) -> None:
    edited.edit(TRIANGLE, "alpha * (from_middle - 0.5)", "alpha * (0.5 - from_middle)")
    training = "train@my_pairs-triangle_mmts"
    assert edited.repro(training) == {training}
    assert changed(edited) == {"evaluate@my_pairs-triangle_mmts"}
    assert curves(edited, "triangle_mmts")["tau_min"][0] == pytest.approx(LOW - ALPHA / 2)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (
            "mmts/kinds/objective/decoupled.py", '    label = "decoupled InfoNCE"\n', "",
            "mmts/kinds/objective/decoupled.py: its Kind has no label; write `label = ...` into it",
        ),
        (
            TRIANGLE, "(from_middle - 0.5)", "from_middle",
            "params.yaml: datasets.my_pairs.temperature with methods.triangle_mmts: the schedule "
            "triangle has the value 0.06 at step 0 of 10000, but alpha is 0.06: mend its `value`, "
            "which must stay in [-alpha/2, alpha/2]",
        ),
        (
            "params.yaml", "objective: decoupled,", "objective: decuopled,",
            "methods.decoupled_mmts.objective is 'decuopled'; did you mean decoupled? there are: ",
        ),
    ],
)  # fmt: skip
def test_the_plan_refuses(edited: Project, file: str, old: str, new: str, told: str) -> None:
    path = edited.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    lines = edited.run("python -m stages.plan", ok=False).splitlines()
    assert any(told in line for line in lines) and not any("Traceback" in line for line in lines)
