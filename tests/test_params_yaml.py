"""params.yaml through DVC's own writer: `dvc exp run -S` changes the lines that it means."""

from __future__ import annotations

import shutil
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from mmts.params import read_params

PARAMS = Path(__file__).parent.parent / "params.yaml"
LINES = PARAMS.read_text(encoding="utf-8").splitlines()


def scalars(tree: Any, key: str = "") -> list[str]:
    """Dotted keys of all settings that are one value."""
    if isinstance(tree, dict):
        return [s for name in tree for s in scalars(tree[name], f"{key}.{name}".lstrip("."))]
    return [] if isinstance(tree, list) else [key]


def after(folder: Path, *overrides: str, lines: list[str] = LINES) -> list[str]:
    """The lines after `dvc exp run` with `-S` and each of the overrides."""
    from dvc.utils.hydra import apply_overrides

    path = folder / "params.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    apply_overrides(path, list(overrides))
    return path.read_text(encoding="utf-8").splitlines()


def changes(found: list[str]) -> list[tuple[str, str]]:
    """The lines that differ, before and after."""
    assert len(found) == len(LINES)
    return [(was, line) for line, was in zip(found, LINES, strict=True) if line != was]


def test_it_is_as_dvc_writes_it(tmp_path: Path) -> None:
    from dvc.utils.serialize import modify_yaml

    path = tmp_path / "params.yaml"
    shutil.copyfile(PARAMS, path)
    with modify_yaml(path) as tree:
        tree["report"]["seed"] = 7
    ((was, now),) = changes(path.read_text(encoding="utf-8").splitlines())
    assert (was, now) == ("  seed: 0", "  seed: 7")


def value_at(path: Path, key: str) -> Any:
    """The value at a dotted key of a file."""
    return reduce(getitem, key.split("."), read_params(path))


KEYS = [key for key in scalars(read_params(PARAMS)) if not key.endswith((".base", ".model"))]


@pytest.mark.parametrize("key", KEYS[:: len(KEYS) // 40])
def test_a_scalar_changes_one_line(tmp_path: Path, key: str) -> None:
    old = value_at(PARAMS, key)
    new = {float: 0.123, bool: not old, str: "another"}.get(type(old), 7)
    ((_, line),) = changes(after(tmp_path, f"{key}={str(new).lower()}"))
    assert key.rpartition(".")[2] in line
    assert value_at(tmp_path / "params.yaml", key) == new


def test_lists_of_the_grid_change_their_own_lines(tmp_path: Path) -> None:
    """However often: what follows a list would be lost with it if it were a comment."""
    first = after(tmp_path, "grid.datasets=[my_pairs]", "grid.methods=[info_nce,clip]")
    at = LINES.index("  datasets:")
    grid = ["  datasets:", "  - my_pairs", "  methods:", "  - info_nce", "  - clip"]
    assert first == [*LINES[:at], *grid, *LINES[at + 7 :]]
    assert after(tmp_path, "grid.seeds=[3]", lines=after(tmp_path, "grid.seeds=[0,1]")) == after(
        tmp_path, "grid.seeds=[3]"
    )
    seeds = after(tmp_path, "grid.seeds=[0]")
    begin, end = (
        LINES.index("  seeds:") + 1,
        LINES.index("report:  # the tables and the results page"),
    )
    assert seeds == [*LINES[:begin], "  - 0", *LINES[end:]]


def test_no_line_is_wide() -> None:
    assert [line for line in LINES if len(line) > 80] == []
