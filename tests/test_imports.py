"""Every module imports, imports go one way, and stage commands answer at once."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import mmts
import stages

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    module.name
    for package in (mmts, stages)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)
COMMANDS = sorted(name for name in MODULES if name.startswith("stages.") and name != "stages.cli")
PURE = ("schedule", "shift", "losses", "metrics", "errors", "settings", "kinds", "method", "config")
IMPURE = ("training", "reporting", "sources", "towers", "shards", "embed", "captions", "study")


def path_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(module: str, at_once: bool = False) -> set[str]:
    """Full names of all that a module imports anywhere in its text; or only as it is imported."""
    found = set()
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def below(name: str, *packages: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def pure_modules() -> list[str]:
    return [name for name in MODULES if below(name, *(f"mmts.{p}" for p in PURE))]


def test_the_walk_sees_the_tree() -> None:
    files = {p for folder in ("mmts", "stages") for p in (ROOT / folder).rglob("*.py")}
    roots = {ROOT / "mmts/__init__.py", ROOT / "stages/__init__.py"}
    assert {path_of(name) for name in MODULES} == files - roots
    assert len(COMMANDS) >= 9 and len(pure_modules()) >= 12


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports(module: str) -> None:
    assert importlib.import_module(module).__doc__


def test_the_library_does_not_know_the_stages() -> None:
    wrong = {m: n for m in MODULES if below(m, "mmts") for n in imported(m) if below(n, "stages")}
    assert wrong == {}


def test_pure_modules_know_none_of_the_others() -> None:
    others = [f"mmts.{name}" for name in IMPURE]
    wrong = {
        m: n
        for m in pure_modules()
        for n in imported(m, at_once=below(m, "mmts.kinds"))  # a kind, as it builds the thing
        if below(n, *others)
    }
    assert wrong == {}


def test_training_and_reporting_do_not_know_each_other() -> None:
    for module in MODULES:
        if below(module, "mmts.training"):
            assert not any(below(n, "mmts.reporting") for n in imported(module)), module
        if below(module, "mmts.towers", "mmts.sources", "mmts.shards", "mmts.embed"):
            known = imported(module)
            assert not any(below(n, "mmts.training", "mmts.reporting") for n in known), module
        if below(module, "mmts.training", "mmts.evaluation", "mmts.towers", "mmts.shards"):
            assert not any(below(n, "mmts.study") for n in imported(module)), module
        if below(module, "mmts.study"):
            assert not any(below(n, "mmts.reporting") for n in imported(module)), module


def test_losses_and_metrics_read_and_write_nothing() -> None:
    for module in MODULES:
        if not below(module, "mmts.losses", "mmts.metrics"):
            continue
        wrong = [n for n in imported(module) if below(n, "os", "io", "pathlib", "shutil", "pandas")]
        calls = [
            node.func.id
            for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert wrong == [] and not {"open", "print"} & set(calls), module


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("command", [*COMMANDS, "mmts.towers.convert"])
def test_help_takes_less_than_half_a_second_of_the_cpu(command: str) -> None:
    seconds = []
    for _ in range(3):  # CPU time: other tests run at the same time
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = python("-m", command, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert ran.returncode == 0 and "Usage:" in ran.stdout
        if seconds[-1] <= 0.5:
            break
    assert min(seconds) <= 0.5, seconds


def reached(*names: str) -> set[str]:
    """Full names of all that is imported at once with those, directly or not."""
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = todo.pop()
        parts = name.split(".")
        modules = {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & set(MODULES)
        found.add(name)
        todo |= {n for m in modules for n in imported(m, at_once=True)} - found
    return found


def test_stages_import_what_they_need() -> None:
    """Each of these costs seconds: torch, and torch._dynamo, which the losses import."""
    report, evaluate = (reached(*imported(f"stages.{s}")) for s in ("report", "evaluate"))
    assert "torch" in evaluate and "mmts.training.pairs.Pairs" in evaluate
    assert not [n for n in report if below(n, "torch", "sentence_transformers", "transformers")]
    assert not [n for n in evaluate if below(n, "mmts.losses", "torch._dynamo", "torch.optim")]


def test_stages_import_nothing_heavy() -> None:
    heavy = ("torch", "pandas", "numpy", "sentence_transformers", "transformers", "sklearn")
    code = (
        f"import importlib, sys\nfor name in {COMMANDS}: importlib.import_module(name)\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    ran = python("-c", code)
    assert ran.stdout.strip() == "[]", ran.stdout + ran.stderr
