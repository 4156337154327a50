"""Read a published training checkpoint without running anything that stands in it."""

from __future__ import annotations

import argparse
import re
import zipfile
from pathlib import Path
from typing import Any

from mmts.errors import InputError
from mmts.files import require
from mmts.weights import indexed_files, load_state, refused_name, unwrapped

INDEX = ".index.json"
IN_FOLDERS = tuple(
    name + end
    for name in ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin",
                 "open_clip_pytorch_model.bin")
    for end in ("", INDEX)
)  # fmt: skip
"""What weights are called in folders of the hub, the preferred ones first."""
ARCHIVE = (
    'is a TorchScript archive, which holds code; write its weights alone with `python -c "import '
    "sys, torch; torch.save(torch.jit.load(sys.argv[1], 'cpu').state_dict(), sys.argv[2])\" "
    "{path} weights.pt` where you trust it, and convert that file"
)


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


def find_weights(source: Path) -> tuple[Path, list[Path]]:
    """Return the file that stands for all weights, and the files they are in.

    Args:
        source: A file, an index of several (`….index.json`), or a folder with either of them.

    Raises:
        InputError: There are no weights.
    """
    require(source, "name a checkpoint file or a folder of weights")
    if source.is_dir():
        found = next((source / n for n in IN_FOLDERS if (source / n).is_file()), None)
        found = found or _of_vast(source)
        if found is None:
            raise InputError(f"{source} has none of {', '.join(IN_FOLDERS[::2])}; name a file")
        source = found
    return source, indexed_files(source) if source.name.endswith(INDEX) else [source]


def _of_vast(folder: Path) -> Path | None:
    """Return the last checkpoint in a folder that VAST's training wrote, if it is one."""
    found = {path: path.stem for path in folder.glob("ckpt/model_step_*.pt")}
    found |= {path: path.parent.name for path in folder.glob("checkpoint-*/pytorch_model.bin")}
    steps = {int(n[0]): path for path, name in found.items() if (n := re.search(r"\d+$", name))}
    return steps[max(steps)] if steps else None


def read_weights(files: list[Path]) -> dict[str, Any]:
    """Return what is in one file, or the tensors of several; errors as of `read_checkpoint`."""
    parts = [
        {"state_dict": load_state(path)} if path.suffix == ".safetensors" else read_checkpoint(path)
        for path in files
    ]
    if len(parts) == 1:
        return parts[0]
    state: dict[str, Any] = {}
    for path, part in zip(files, parts, strict=True):
        state |= tensors(part, path)
    return {"state_dict": state}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote: tensors, plain values and an argparse.Namespace, nothing else.

    Raises:
        InputError: no such file, no checkpoint, or one that holds another kind of object (its
            name is given; it was not imported or run).
    """
    import torch

    require(path, "name a checkpoint that torch.save wrote")
    if _is_archive(path):
        raise InputError(f"{path} {ARCHIVE.format(path=path)}")
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


def _is_archive(path: Path) -> bool:
    """Return whether it is a file of torch.jit.save."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


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


def entry_of(found: dict[str, Any]) -> str:
    """Return the entry that has the tensors: `state_dict`, `model` (BEATs), or "" for none."""
    if "state_dict" in found:
        return "state_dict"
    return "model" if isinstance(found.get("model"), dict) else ""


def tensors(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """The tensors by name, of the entry that has them, without the prefixes of wrappers.

    Raises:
        InputError: there are none.
    """
    import torch

    state = found.get(entry_of(found), found)
    if not isinstance(state, dict) or not state:
        raise InputError(f"{path} holds no state_dict; its entries are {sorted(map(str, found))}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor")
    return unwrapped(state, path)
