"""Read a published training checkpoint without running anything that stands in it."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

from mmts.errors import InputError
from mmts.files import require
from mmts.weights import refused_name


class Inert:
    """Stands for an object that nobody needs: takes all, does nothing."""

    def __new__(cls, *arguments: Any) -> Inert:
        """An empty object."""
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


# What the optimiser's log and the job's settings left in the files of AVION and LaViLa: paths and
# NumPy numbers. None of them is made; an Inert takes their place.
IGNORED = (
    "pathlib.PosixPath",
    "pathlib._local.PosixPath",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote: tensors, plain values and an argparse.Namespace, nothing else.

    Raises:
        InputError: no such file, no checkpoint, or one that holds another kind of object (its
            name is given; it was not imported or run).
    """
    import torch

    require(path, "name a checkpoint that torch.save wrote")
    allowed: list[Any] = [argparse.Namespace, *((Inert, name) for name in IGNORED)]
    try:
        with torch.serialization.safe_globals(allowed):
            found = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # a damaged pickle may raise anything
        if isinstance(error, OSError) and error.filename:
            raise  # the disk's or the rights' fault
        raise InputError(f"{path} {_problem(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, not a mapping; no checkpoint")
    return found


def _problem(error: Exception) -> str:
    name = refused_name(error)
    if name:
        return (
            f"wants {name}, which is refused: a checkpoint may hold tensors, plain values and an "
            "argparse.Namespace; do not trust this file"
        )
    return (
        "is no checkpoint that can be read safely: it is damaged or not a file of torch.save; get "
        "it again"
    )


def tensors(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """The tensors by name: `state_dict` if there is one, without the prefix of DataParallel.

    Raises:
        InputError: there are none.
    """
    import torch

    state = found.get("state_dict", found)
    if not isinstance(state, dict) or not state:
        raise InputError(f"{path} holds no state_dict; its entries are {sorted(map(str, found))}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor")
    return {name.removeprefix("module."): value for name, value in state.items()}
