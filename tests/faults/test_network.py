"""Without a network: no stage needs one, and what asks for it is refused in one line, soon.

That the stages of a small project try no connection at all: `test_reproducible.py`; that `dvc
repro` tries none: `tests/pipeline/test_reruns.py`.
"""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from mmts import weights
from mmts.errors import InputError
from mmts.shards import remote
from tests import patience
from tests.conftest import CELL, Project
from tests.faults import mounts, started
from tests.faults.watching import watch

HUB = "nobody/no-such-model"
SECONDS = 30
CNN = {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 32}
RESNET = {"name": "resnet", "weights": HUB, "frozen": False, "image_size": 32}
DISTILBERT = {"name": "distilbert", "weights": HUB, "frozen": False, "pooling": "cls"}
TRAIN = ("train", *CELL, "base")
WAIT = 2.0


def alone() -> None:
    """No network, and the hub's library believes that there is one; less patience for the test."""
    mounts.no_network()
    huggingface_hub.constants.HF_HUB_OFFLINE = False
    remote.FIRST_BYTE = WAIT


@pytest.mark.parametrize(
    ("command", "key", "value", "said"),
    [
        (("embed", "--dataset", "tiny"), "embed__model", HUB, f"{HUB} cannot be loaded ("),
        (("plan",), "embed__model", HUB, f"{HUB} cannot be loaded ("),
        (TRAIN, "towers__vision", RESNET, f"{HUB} cannot be loaded ("),
        (TRAIN, "towers__text", DISTILBERT, f"{HUB} cannot be loaded ("),
        (TRAIN, "train__stream", {"url": "http://example.org/x"}, f".tar gave nothing in {WAIT:g}"),
        (TRAIN, "train__stream", {"url": "hf://datasets/x/y"}, ".tar cannot be opened ("),
        (TRAIN, "train__stream", {"url": "pipe:sleep 600 #{}"}, f".tar gave nothing in {WAIT:g}"),
    ],
)  # fmt: skip
def test_what_asks_for_a_network_is_refused_soon(
    project: Project, tmp_path: Path, command: tuple[str, ...], key: str, value: Any, said: str
) -> None:
    settings = {key: value}
    if key == "train__stream":
        settings["towers__vision"] = CNN
    project.set(**{f"datasets__tiny__{name}": setting for name, setting in settings.items()})
    with patience.within(SECONDS):
        ran = started.run(*command, told=tmp_path / "told", prepare=alone)
    assert ran.code == 1 and said in ran.err, ran
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert "Traceback" not in ran.err + ran.out


def test_a_hub_that_takes_the_call_and_is_silent(project: Project, tmp_path: Path) -> None:
    project.set(datasets__tiny__embed__model=HUB)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def hear_nothing() -> None:
            huggingface_hub.constants.HF_HUB_OFFLINE = False
            huggingface_hub.constants.ENDPOINT = f"http://127.0.0.1:{silent.getsockname()[1]}"
            weights.ANSWER = 0.5

        with patience.within(SECONDS):
            ran = started.run("plan", told=tmp_path / "told", prepare=hear_nothing)
    assert ran.code == 1 and ran.err.startswith(f"error: {HUB} cannot be loaded (timed out)"), ran


def test_a_stream_that_comes_is_not_cut_off(project: Project, tmp_path: Path) -> None:
    """The look at its first byte takes nothing away, and a slow start is waited for."""

    def patient() -> None:
        alone()
        remote.FIRST_BYTE = patience.seconds(WAIT)

    shards = project.root / "data/shards/tiny"
    url = f"pipe:sleep 0.3; cat '{shards}/{{}}'"
    project.set(datasets__tiny__towers__vision=CNN, datasets__tiny__train__stream={"url": url})
    ran = started.run(*TRAIN, told=tmp_path / "told", prepare=patient)
    assert ran.code == 0 and "4 steps in" in ran.out, ran


def test_reaching_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    remote.Remote(str(tmp_path)).reach("a.tar")
    with pytest.raises(InputError, match=r"b\.tar cannot be opened"):
        remote.Remote(str(tmp_path)).reach("b.tar")


def test_a_stream_where_many_files_are_open(project: Project, tmp_path: Path) -> None:
    """As where a process reads a thousand shards: file numbers that select() does not take."""
    shards = project.root / "data/shards/tiny"
    url = f"pipe:cat '{shards}/{{}}'"
    project.set(datasets__tiny__towers__vision=CNN, datasets__tiny__train__stream={"url": url})

    def open_many() -> None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        while os.dup(2) < min(1024, most - 100):  # where that can be had
            pass

    ran = started.run(*TRAIN, told=tmp_path / "told", prepare=open_many)
    assert ran.code == 0 and "4 steps in" in ran.out, ran


def test_the_watch_sees_connections(project: Project, tmp_path: Path) -> None:
    """Those that a process tries, and no others: the test of all stages can fail."""
    told = tmp_path / "connections"

    def try_some() -> None:
        mounts.no_network()
        watch(told)
        with socket.socket(socket.AF_UNIX) as local, pytest.raises(OSError):
            local.connect(str(tmp_path / "nobody"))
        assert not told.exists()
        with socket.socket() as outside, pytest.raises(OSError):
            outside.connect(("192.0.2.1", 80))
        with pytest.raises(OSError):
            socket.getaddrinfo("example.org", 80)

    ran = started.run("plan", told=tmp_path / "told", prepare=try_some)
    assert ran.code == 0, ran
    tried = [line.split()[0] for line in told.read_text().splitlines()]
    assert tried == ["socket.connect", "socket.getaddrinfo"]
