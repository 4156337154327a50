from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests import patience
from tests.pipeline import warm
from tests.pipeline.project import ROOT

PARENT = """if 1:
    import subprocess, sys, time
    server = "from tests.pipeline import warm; warm.PACKAGES = (); "
    server += "warm.serve(__import__('pathlib').Path(sys.argv[1])); warm.work()"
    subprocess.Popen([sys.executable, "-c", "import sys; " + server, sys.argv[1]])
    time.sleep(3600)
"""
SLEEPER = "import pathlib, time; pathlib.Path('there').touch(); time.sleep(3600)"


def test_the_server_and_its_commands_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Pytest with `kill -9` must not leave a stage at work."""
    warm.write_commands(tmp_path, sys.executable)
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env=environment)
    client = None
    try:
        wait_for(tmp_path / "socket")
        command = [str(tmp_path / "python"), "-m", "sleeper"]
        client = subprocess.Popen(command, cwd=tmp_path)
        wait_for(tmp_path / "there")
        processes = psutil.Process(parent.pid).children(recursive=True)
        assert len(processes) == 3  # the server, a keeper, the command
        parent.kill()
        _, left = psutil.wait_procs(processes, patience.seconds(10))
        assert left == [] and client.wait(patience.seconds(10)) == 70
    finally:
        for process in (parent, client):
            if process is not None:
                process.kill()
                process.wait()


def wait_for(path: Path) -> None:
    until = time.monotonic() + patience.seconds(30)
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)
