"""kill -9 of `dvc repro` and all that it started: the next one finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import patience
from tests.faults import started
from tests.faults.test_kills import tree
from tests.pipeline.project import copy_project, tiny_pairs

EMBED = "embed@my_pairs"


def test_dvc_repro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_commands: Path) -> None:
    project = copy_project(tmp_path / "project")
    tiny_pairs(project)
    monkeypatch.chdir(project.folder)
    output, cache = Path("data/embed/my_pairs"), Path("data/cache/vectors")
    process = subprocess.Popen(
        ["dvc", "repro", EMBED], env=project.env, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    until = time.monotonic() + patience.seconds(180)
    while not any(cache.glob("*.sqlite")):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not output.exists()
    assert str(process.pid) in Path(".dvc/tmp/rwlock").read_text()  # DVC's own, which is stale

    project.use(warm_commands)
    said = project.run(f"dvc repro {EMBED}")
    assert "Stage 'captions@my_pairs' didn't change, skipping" in said
    assert f"Running stage '{EMBED}'" in said
    found = tree(output)
    for path in cache.iterdir():
        path.unlink()
    ran = started.run("embed", "--dataset", "my_pairs", told=tmp_path / "told")
    assert ran.code == 0 and found is not None and tree(output) == found
    assert not list(Path("data").rglob(".*partial"))
