"""A copy of the project on a tiny dataset, driven through `dvc` as a user would."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from mmts.code import Code
from tests import patience

ROOT = Path(__file__).parents[2]
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "grey": (90, 90, 90),
}
RUNNING = re.compile(r"^(?:Running stage|Stage) '([^']+)'(?::| is cached)", re.MULTILINE)


def ran(output: str) -> set[str]:
    """The stages, but `plan`, that an output of DVC says have run or were taken from its cache."""
    return set(RUNNING.findall(output)) - {"plan"}


class Project:
    """A checkout in a folder of its own, with the interpreter of the tests on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: Callable[[], None] | None = None  # called in a new process first
        bin_folder = str(Path(sys.executable).parent)
        self.env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
        self.cold_path = self.env["PATH"]
        self.env["OMP_NUM_THREADS"] = "1"  # threads cost more than they bring at this size
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_ROOT",
                     "HF_HUB_OFFLINE", "DVC_NO_ANALYTICS"):  # fmt: skip
            self.env.pop(name, None)

    def use(self, commands: Path) -> None:
        """Take `python` and `dvc` from a folder, see the fixture `warm_commands`.

        The stage plan need not read all code then.
        """
        self.env["PATH"] = f"{commands}{os.pathsep}{self.env['PATH']}"
        memory = self.folder / "data/cache/plan/code.json"
        if not memory.exists():
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.write_bytes(_digests_of_code())

    def run(self, command: str, ok: bool = True) -> str:
        """Run a shell command in the folder; its output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder, env=self.env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience.seconds(900),
            preexec_fn=self.before,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, f"{command} gave {done.returncode}:\n{done.stdout}"
        return done.stdout

    def repro(self, *flags: str) -> set[str]:
        """`dvc repro`; the stages, but `plan`, that did not simply stay as they were."""
        return ran(self.run(" ".join(["dvc repro", *flags])))

    def params(self) -> Any:
        return YAML().load(self.folder / "params.yaml")

    def set(self, **values: Any) -> None:
        """Set keys of params.yaml, `__` standing for a dot."""
        tree = self.params()
        for key, value in values.items():
            *path, last = key.split("__")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
        YAML().dump(tree, self.folder / "params.yaml")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands once in a file of the project."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new), encoding="utf-8")

    def metrics(self) -> dict[str, Any]:
        """Every metrics file that train and evaluate wrote with seed 0, by path."""
        files = sorted((self.folder / "data").glob("*/*/*/0/metrics.json"))
        return {str(f.relative_to(self.folder)): json.loads(f.read_text()) for f in files}


def copy_project(folder: Path) -> Project:
    """The files that git would take, with their times, in a repository of their own.

    Not the study's records: their report would take its time with each run of the pipeline.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        record = name.startswith("study/") and name != "study/params.yaml"
        if source.is_file() and name != "dvc.lock" and not record:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    project = Project(folder)
    project.run("git init -q -b main; git config user.name t; git config user.email t@example.org")
    return project


def commit(project: Project) -> None:
    project.run("git add -A && git commit -qm 'a tiny project'")


def write_pairs(folder: Path, count: int = 64) -> None:
    """Pictures of coloured squares and a table of captions that say what is in them."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = ["image,caption,colour"]
    for number in range(count):
        colour = rng.choice(list(COLOURS), p=[0.5, 0.25, 0.15, 0.1])
        size = int(rng.integers(8, 30))
        pixels = np.full((48, 48, 3), 255, dtype=np.uint8)
        pixels[4 : 4 + size, 6 : 6 + size] = COLOURS[colour]
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        lines.append(f"images/{number}.png,a {colour} square number {number},{colour}")
        lines.append(f"images/{number}.png,something {colour} of {size} pixels,{colour}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def only(tree: Any, *datasets: str) -> list[Any]:
    """Take out the other datasets, as DVC reads the file a dozen times; settings of those left."""
    for name in [name for name in tree["datasets"] if name not in datasets]:
        del tree["datasets"][name]
    for method in tree["methods"].values():
        for name in [n for n in method.get("per_dataset", {}) if n not in datasets]:
            del method["per_dataset"][name]
    return [tree["datasets"][name] for name in datasets]


@cache
def _digests_of_code() -> bytes:
    """What the stage plan remembers of this checkout."""
    with tempfile.TemporaryDirectory() as folder:
        Code(Path(folder)).closure(["stages.plan"])
        return (Path(folder) / "code.json").read_bytes()


def tiny_pairs(project: Project) -> None:
    """`my_pairs` as the only dataset: three methods, one seed, seconds of work."""
    write_pairs(project.folder / "data/raw/my_pairs")
    write_cnn(project.folder / "data/weights/cnn.safetensors", seed=1)
    (project.folder / "params.yaml").write_text(_tiny_params(), encoding="utf-8")


@cache
def _tiny_params() -> str:
    tree = YAML().load(ROOT / "params.yaml")
    tree["grid"] = {
        "datasets": ["my_pairs"],
        "methods": ["info_nce", "info_nce_ts", "info_nce_mmts"],
        "seeds": [0],
    }
    (dataset,) = only(tree, "my_pairs")
    dataset["captions"]["sources"]["my_pairs"]["class_columns"] = ["colour"]
    vision = {"name": "small_cnn", "weights": "data/weights/cnn.safetensors", "frozen": True}
    dataset["towers"] = {"vision": {**vision, "image_size": 32}}
    dataset["clusterings"]["default"]["k"] = 4
    dataset["train"].update(epochs=2, batch_size=16, log_every=1)
    dataset["evaluate"] = {"bootstrap": 100, "examples": 2}
    tree["report"].update(bootstrap=100, tsne_points=100, tsne_perplexity=5.0, examples=1)
    text = _dumped(tree)
    return _dumped(YAML().load(text))  # comments of what is gone go


def _dumped(tree: Any) -> str:
    text = io.StringIO()
    YAML().dump(tree, text)
    return text.getvalue()


def write_cnn(path: Path, seed: int) -> None:
    """Weights of a small CNN."""
    import torch
    from safetensors.torch import save_file

    from mmts.towers.small import SmallCNN

    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(SmallCNN().state_dict(), path)
