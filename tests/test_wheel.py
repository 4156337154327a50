"""The wheel works outside the checkout: all modules, the page's templates, the type marker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.pipeline.project import copy_project

PROGRAM = """
import pathlib, torch, mmts
from mmts.losses import info_nce, max_margin
from mmts.metrics.recall import retrieval_recall
from mmts.schedule import per_sample_tau, tau_base
from mmts.shift import cluster_shift

folder = pathlib.Path(mmts.__file__).parent
assert (folder / "reporting/page.html.j2").exists() and (folder / "py.typed").exists()
rows = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
tau = per_sample_tau(tau_base(0, alpha=0.02, period=5), torch.full((4,), 0.1))
print(folder, float(info_nce(rows, rows, tau)), float(max_margin(rows, rows, tau)))
"""


def test_a_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "checkout")
    project.run("python -m build --wheel --no-isolation --outdir ../dist . > ../build.log")
    (wheel,) = (tmp_path / "dist").glob("mm_ts_pipeline-*.whl")
    installed, away = tmp_path / "installed", tmp_path / "away"
    away.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", str(installed), str(wheel)],
        check=True,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=away, env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert not (installed / "stages").exists()
