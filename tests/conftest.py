"""Fixtures that tests of several modules share."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"  # stderr is for errors
os.environ["DVC_NO_ANALYTICS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny work: more threads only wait for each other

import importlib
import json
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from mmts.sealed import sha256_file
from mmts.training.signals import STOPPING, GracefulStop
from tests import making
from tests.pipeline import warm

EXAMPLES = 100

hypothesis.settings.register_profile(
    "plain", derandomize=True, deadline=None, database=None, max_examples=EXAMPLES
)
hypothesis.settings.register_profile(
    "fuzz", deadline=None, database=None, max_examples=40 * EXAMPLES, print_blob=True
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        action="store_true",
        help="40 times as many generated inputs, 20 kills a stage, more cases",
    )


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("fuzz" if config.getoption("fuzz") else "plain")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Processes that share the tests begin with the long files: none ends alone with one."""
    if not config.getoption("fuzz"):
        items[:] = [item for item in items if item.get_closest_marker("fuzz") is None]
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _no_signal_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that one test has sent to this process is none of the next, nor of its forks."""
    monkeypatch.setattr(GracefulStop, "noted", False)


class Ran(NamedTuple):
    """How a stage command ended, and what it printed."""

    code: int
    out: str
    err: str


class Project:
    """A folder with params.yaml and data/raw/tiny that stage commands run in."""

    def __init__(self, root: Path, capture: Callable[[], tuple[str, str]]) -> None:
        self.root, self._capture = root, capture
        self.params = making.PARAMS

    def set(self, **changes: object) -> None:
        """Write params.yaml with changes; `__` in a name stands for a dot."""
        tree = making.changed(self.params, {k.replace("__", "."): v for k, v in changes.items()})
        making.write_params(self.root / "params.yaml", tree)

    def run(self, stage: str, *arguments: str) -> Ran:
        """Run a stage command in this process, after `plan` where params.yaml has changed."""
        from stages.cli import run

        if stage not in ("plan", "study") and self.is_stale():
            planned = self.run("plan")
            if planned.code:
                return planned

        self._capture()
        argv, sys.argv = sys.argv, [stage, *arguments]
        handlers = {number: signal.getsignal(number) for number in STOPPING}
        code = 0
        try:
            with warnings.catch_warnings():
                run(importlib.import_module(f"stages.{stage}").main)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            sys.argv = argv
            for number, handler in handlers.items():  # training listens until its process ends
                signal.signal(number, handler)
        return Ran(code, *self._capture())

    def is_stale(self) -> bool:
        """Return whether data/plan is of another params.yaml."""
        params, path = self.root / "params.yaml", self.root / "data/plan/run/params.json"
        of_plan = json.loads(path.read_text())["sha256"] if path.exists() else ""
        return params.exists() and of_plan != sha256_file(params)


@pytest.fixture(scope="session")
def warm_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of `python` and `dvc` that need no time to start, see `tests.pipeline.warm`."""
    folder = tmp_path_factory.mktemp("warm")
    warm.write_commands(folder, sys.executable)
    server = subprocess.Popen(
        [sys.executable, str(warm.__file__), "serve", str(folder)], stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        yield folder
    finally:
        server.kill()
        server.wait()


CELL = ("--dataset", "tiny", "--method")
CHAIN = (
    ("captions", "--dataset", "tiny"),
    ("embed", "--dataset", "tiny"),
    ("cluster", "--dataset", "tiny"),
    ("shift", "--dataset", "tiny"),
    ("pack", "--dataset", "tiny"),
    ("train", *CELL, "base"),
    ("train", *CELL, "mmts"),
    ("evaluate", *CELL, "base"),
)


@pytest.fixture(scope="session")
def sentence_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny sentence-transformers model."""
    return making.write_sentence_model(tmp_path_factory.mktemp("sentence"))


@pytest.fixture(scope="session")
def cnn_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small CNN, as if somebody had trained them."""
    import torch
    from safetensors.torch import save_file

    from mmts.towers.small import SmallCNN

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("cnn") / "cnn.safetensors"
    save_file(SmallCNN().state_dict(), path)
    return path


@pytest.fixture(scope="session")
def _built(
    tmp_path_factory: pytest.TempPathFactory, sentence_folder: Path, cnn_weights: Path
) -> Project:
    """The tiny project with every stage run once; not to be changed."""
    root = tmp_path_factory.mktemp("built")
    project = Project(root, lambda: ("", ""))
    tiny = "datasets.tiny"
    project.params = making.changed(
        making.PARAMS,
        {
            f"{tiny}.embed.model": str(sentence_folder),
            f"{tiny}.towers.text.weights": str(sentence_folder),
            f"{tiny}.towers.vision.weights": str(cnn_weights),
        },
    )
    project.set()
    making.write_raw(root / "data/raw/tiny")
    before = Path.cwd()
    os.chdir(root)
    try:
        for stage in CHAIN:
            assert project.run(*stage).code == 0, stage
    finally:
        os.chdir(before)
    return project


@pytest.fixture
def project(
    _built: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Project:
    """A copy of the tiny project with all artifacts, as the working folder."""
    root = tmp_path / "project"
    shutil.copytree(_built.root, root)
    monkeypatch.chdir(root)
    mine = Project(root, capsys.readouterr)
    mine.params = _built.params
    return mine
