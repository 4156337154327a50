"""The files in the folder of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from torch import nn

from mmts import __version__
from mmts.errors import InputError, in_short
from mmts.files import read_json, write_json
from mmts.training.fingerprint import Facts
from mmts.weights import refused_name, save_tensors

FACTS = "facts.json"
POSITION = {"step", "epoch", "batch"}
ODD = (
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError
)  # fmt: skip
"""What a state of another kind raises where it is put back."""


def name_of(step: int) -> str:
    """step-000001234."""
    return f"step-{step:09d}"


def step_of(folder: Path) -> int:
    """The number in the name of a checkpoint's folder."""
    return int(folder.name.removeprefix("step-"))


def steps(folder: Path) -> list[Path]:
    """The checkpoints in a folder, in no order."""
    return [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{9,}", path.name)]


def newest_of_others(folder: Path) -> Path | None:
    """The checkpoint that was written last beside, not in, `folder` and can be told about."""
    found = [p for p in folder.parent.glob(f"[!.]*/step-*/{FACTS}") if p.parent.parent != folder]
    for path in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            read_facts(path.parent)
        except InputError:
            continue
        return path.parent
    return None


def write(
    work: Path, weights: Mapping[str, nn.Module | None], state: Mapping[str, Any],
    position: Mapping[str, int], facts: Facts,
) -> None:  # fmt: skip
    """All files but those of the ranks."""
    for name, module in weights.items():
        if module is not None:
            save_tensors(work / f"{name}.safetensors", module.state_dict())
    write_tensors(work / "state.pt", {k: part.state_dict() for k, part in _stateful(state)})
    write_json(work / FACTS, {
        "position": dict(position), "facts": facts,
        "written_by": {"mmts": __version__, "torch": torch.__version__},
    })  # fmt: skip


def read(folder: Path, weights: Mapping[str, nn.Module | None], state: Mapping[str, Any]) -> None:
    """Put the files into modules and the rest; InputError where they do not fit."""
    from safetensors.torch import load_file

    for name, module in weights.items():
        if module is None:
            continue
        path = folder / f"{name}.safetensors"
        try:
            module.load_state_dict(load_file(path))
        except (OSError, RuntimeError, SafetensorError) as error:
            does_not_fit(path, error)
    path = folder / "state.pt"
    found = read_tensors(path)
    for name, part in _stateful(state):
        try:
            part.load_state_dict(found[name])
        except ODD as error:
            does_not_fit(path, error, f"{name}: ")


def write_tensors(path: Path, value: Any) -> None:
    """torch.save through a Python file, whose error says what the disk said."""
    with open(path, "wb") as file:
        torch.save(value, file)


def read_tensors(path: Path) -> Any:
    """Tensors and plain values; InputError where it would take unpickling anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of another kind may raise anything
        if isinstance(error, OSError) and error.filename:
            raise
        name = refused_name(error)
        problem = f"it wants {name}" if name else "it is no file of torch.save"
        raise InputError(
            f"{path} holds more than tensors and plain values ({problem}), which training never "
            "writes; nothing of it was run: do not use it"
        ) from None


def read_facts(folder: Path) -> Any:
    """facts.json, if it has what is read of it."""
    found = read_json(folder / FACTS, f"delete {folder}", ours=False)
    keys = ("position", "facts")
    fits = isinstance(found, dict) and all(isinstance(found.get(k), dict) for k in keys)
    if fits:
        position = found["position"]
        fits = set(position) == POSITION
        fits = fits and all(type(n) is int and n >= 0 for n in position.values())
    if not fits:
        raise InputError(f"{folder / FACTS} is of another kind; delete {folder}")
    return found


def check_finite(weights: Mapping[str, nn.Module | None], step: int, last: Path | None) -> None:
    """InputError naming the first parameter that holds NaN or infinity after `step` steps."""
    for module in weights.values():
        for name, parameter in module.named_parameters() if module is not None else ():
            if not bool(torch.isfinite(parameter.detach()).all()):
                raise InputError(
                    f"{name} is not finite after step {step}; lower train.learning_rate (the last "
                    f"good checkpoint is {last or 'the start'})"
                )


def _stateful(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, part) for name, part in state.items() if hasattr(part, "state_dict"))


def does_not_fit(path: Path, error: Exception, part: str = "") -> NoReturn:
    """InputError of a file whose contents are of another model."""
    raise InputError(
        f"{path} is of another model ({part}{in_short(error)}); delete {path.parent} to begin anew"
    ) from None
