"""Find model files by `package:<import name>`, local path or hub id."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmts.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "package:"
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin")


def package_folder(name: str) -> Path:
    """Folder of an installed package, found without importing it."""
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or found.origin is None:
        raise InputError(
            f"{PACKAGE}{name}: no package of that import name is installed; install it"
        )
    return Path(found.origin).parent


def sentence_model(spec: str) -> str:
    """What sentence-transformers loads `spec` from: a folder, or a hub id as it is."""
    if spec.startswith(PACKAGE):
        root = package_folder(spec.removeprefix(PACKAGE))
        found = sorted(root.rglob("modules.json"))
        if not found:
            raise InputError(f"{spec}: {root} holds no sentence-transformers model (modules.json)")
        return str(found[0].parent)
    if Path(spec).is_dir():
        if not (Path(spec) / "config.json").exists() and not (Path(spec) / "modules.json").exists():
            raise InputError(
                f"{spec} is a folder without config.json or modules.json; no model there"
            )
        return spec
    if spec.startswith((".", "/", "~")) or spec.count("/") > 1:
        raise InputError(
            f"{spec}: no such folder; give a model's folder, {PACKAGE}<name> or a hub id"
        )
    return spec


def weight_file(spec: str) -> Path:
    """The one file of tensors that `spec` (a package or a file) names."""
    if not spec.startswith(PACKAGE):
        path = Path(spec)
        if not path.is_file():
            raise InputError(
                f"{spec} is no file; give {PACKAGE}<name>, a .safetensors or .pth file"
            )
        return path
    root = package_folder(spec.removeprefix(PACKAGE))
    found = sorted(p for p in root.rglob("*") if p.suffix in WEIGHT_FILES)
    if len(found) != 1:
        raise InputError(f"{spec}: {root} holds {len(found)} weight files; name one by its path")
    return found[0]


def load_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors or (weights only, nothing else unpickled) .pth file."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        problem = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} holds no plain tensors ({problem})") from None
    if not isinstance(state, dict) or not all(hasattr(v, "shape") for v in state.values()):
        raise InputError(f"{path} holds no mapping of names to tensors; save a state_dict")
    return state


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, types, shapes and bytes of all tensors, in order of name."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
