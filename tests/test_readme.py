"""Every command and every example of the README runs, on a grid that takes seconds."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.faults import mounts
from tests.faults.watching import watch_all
from tests.pipeline.project import ROOT, Project, commit, copy_project, only, write_pairs

pytestmark = pytest.mark.long
INSTALLED = ".venv/.installed"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def smoke(tree: Any) -> None:
    """Shrink params.yaml: the same stages, seconds of work."""
    tree["grid"].update(methods=["info_nce", "info_nce_mmts"], seeds=[0])
    tree["report"].update(bootstrap=100, tsne_points=100, tsne_perplexity=5.0)
    tree["datasets"]["openmoji"]["captions"]["sources"]["openmoji"]["limit"] = 100
    for dataset in only(tree, "openmoji", "my_pairs"):
        dataset["clusterings"]["default"]["k"] = 4
        dataset["train"].update(epochs=2, batch_size=16)
        dataset["evaluate"] = {"bootstrap": 100}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh checkout with the tests' programs in its .venv, and the pairs of the README."""
    project = copy_project(tmp_path_factory.mktemp("clone"))
    (project.folder / ".venv").symlink_to(sys.prefix)
    tree = project.params()
    smoke(tree)
    YAML().dump(tree, project.folder / "params.yaml")
    write_pairs(project.folder / "data/raw/my_pairs", count=48)
    commit(project)
    return project


@contextmanager
def no_network(project: Project, folder: Path) -> Iterator[None]:
    """What the project runs has no network, and asks for none."""
    connections, path = folder / "connections", project.env.get("PYTHONPATH", "")
    watch_all(folder, connections)
    project.before, project.env["PYTHONPATH"] = mounts.no_network, f"{folder}{os.pathsep}{path}"
    yield
    project.before, project.env["PYTHONPATH"] = None, path
    assert not connections.exists(), connections.read_text()


def test_every_command_runs_in_order(clone: Project, warm_commands: Path, tmp_path: Path) -> None:
    """The pipeline as a newcomer runs it, without a network; what follows in forks, at once."""
    ran = commands()
    assert ran[0] == "make repro" and "make test" in ran and len(ran) >= 8
    for command in ran:
        # -o: what is installed is taken as it is. `make test` is what runs this test: here only its
        # recipe is looked at.
        made = command.replace("make test", "make --dry-run test")
        before = (clone.folder / "params.yaml").read_text(encoding="utf-8").splitlines()
        first = command == "make repro"
        with no_network(clone, tmp_path) if first else nullcontext():
            output = clone.run(re.sub(r"^make", f"make -o {INSTALLED}", made))
        if "-S datasets" in command:  # a number
            after = (clone.folder / "params.yaml").read_text(encoding="utf-8").splitlines()
            assert sum(old != new for old, new in zip(before, after, strict=True)) == 1, command
        if first:
            page = (clone.folder / "results/index.html").read_text(encoding="utf-8")
            assert "info_nce_mmts" in page and "CC BY-SA 4.0" in page
            clone.use(warm_commands)
        if command == "make test":
            assert "pytest" in output and "ruff" in output and "mypy" in output
        if "my_pairs" in command:
            assert (clone.folder / "results/my_pairs.md").exists()
            assert (clone.folder / "results/local/index.html").exists()
    assert "red square" not in (clone.folder / "results/index.html").read_text(encoding="utf-8")


def test_the_python_example_runs() -> None:
    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    names = {
        "step": 3, "total_steps": 100, "shift": torch.tensor([0.05, 0.1]),
        "cluster_id": torch.tensor([0, 1, 1, 0]), "vision": F.normalize(torch.randn(4, 8), dim=1),
        "text": F.normalize(torch.randn(4, 8), dim=1),
    }  # fmt: skip
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), names)
    assert names["tau"].shape == (4,) and names["tau"].min() > 0
    assert names["loss"].ndim == 0 and names["loss"] > 0


def test_the_table_example_is_read(tmp_path: Path) -> None:
    from mmts.sources.table import read_table

    (example,) = blocks("csv") or re.findall(r"^ +```csv\n(.*?)^ +```", README, re.M | re.S)
    path = tmp_path / "captions.csv"
    path.write_text("".join(line.strip() + "\n" for line in example.splitlines()), encoding="utf-8")
    assert list(read_table(path).columns) == ["image", "caption"]


def test_every_file_that_the_readme_names_is_there() -> None:
    for name in re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", README):
        assert (ROOT / name).exists(), name


def test_help_lists_the_targets(clone: Project) -> None:
    listed = clone.run("make help")
    for target in ("setup", "repro", "test", "lint"):
        assert re.search(rf"^{target}\s+\S", listed, re.MULTILINE), listed
