"""params.yaml through DVC's own writer: what `dvc exp run -S` changes is one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mmts.params import lookup, read_params

PARAMS = Path(__file__).parent.parent / "params.yaml"
LINES = PARAMS.read_text(encoding="utf-8").splitlines()


def scalars(tree: Any, key: str = "") -> list[str]:
    """Dotted keys of all settings that are one value."""
    if isinstance(tree, dict):
        return [
            found for name in tree for found in scalars(tree[name], f"{key}.{name}".lstrip("."))
        ]
    return [] if isinstance(tree, list) else [key]


def written(folder: Path, changes: dict[str, Any]) -> list[str]:
    """The lines that DVC writes for `-S key=value` of each change."""
    from dvc.utils.serialize import modify_yaml

    path = folder / "params.yaml"
    shutil.copyfile(PARAMS, path)
    with modify_yaml(path) as tree:
        for key, value in changes.items():
            *parents, last = key.split(".")
            node = tree
            for name in parents:
                node = node[name]
            node[last] = value
    return path.read_text(encoding="utf-8").splitlines()


def test_it_is_as_dvc_writes_it(tmp_path: Path) -> None:
    assert written(tmp_path, {}) == LINES


KEYS = scalars(read_params(PARAMS))


@pytest.mark.parametrize("key", KEYS[:: len(KEYS) // 40])
def test_a_scalar_changes_one_line(tmp_path: Path, key: str) -> None:
    old = lookup(read_params(PARAMS), key, "p")
    new = {float: 0.123, int: 7, bool: not old, str: "another"}.get(type(old), 7)
    found = written(tmp_path, {key: new})
    assert len(found) == len(LINES)
    (changed,) = [line for line, was in zip(found, LINES, strict=True) if line != was]
    assert (
        key.rpartition(".")[2] in changed
        and lookup(read_params(tmp_path / "params.yaml"), key, "p") == new
    )


def test_a_list_changes_its_own_lines(tmp_path: Path) -> None:
    found = written(tmp_path, {"grid.datasets": ["my_pairs"]})
    at = LINES.index("  datasets: [openmoji]")
    assert found == [*LINES[:at], "  datasets:", "  - my_pairs", *LINES[at + 1 :]]


def test_no_line_is_wide() -> None:
    assert [line for line in LINES if len(line) > 80] == []


def test_dvc_itself_writes_what_the_readme_says(tmp_path: Path) -> None:
    """`-S` goes through DVC's parser of overrides."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    shutil.copyfile(PARAMS, path)
    apply_overrides(
        path, ["datasets.openmoji.temperature.alpha=0.04", "grid.methods=[info_nce,clip]"]
    )
    found = path.read_text(encoding="utf-8").splitlines()
    lost, new = ([line for line in one if line not in other] for one, other in
                 ((LINES, found), (found, LINES)))  # fmt: skip
    assert [line.split()[0] for line in lost] == ["methods:", "temperature:"]
    assert new[:3] == ["  methods:", "  - info_nce", "  - clip"]
    assert len(new) == 4 and "alpha: 0.04" in new[3]
