"""Find model files by `package:<import name>`, local path or hub id."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmts.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "package:"
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin")
# of a model of transformers: an image processor's settings stand in either of the middle two
SETTINGS_FILES = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json"
)  # fmt: skip
ANSWER = 8.0
"""Seconds that the hub has to answer, two times: it is asked again where it does not."""
SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
WRAPPERS = r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
"""Of DataParallel, torch.compile, FSDP and checkpointing, in any order and number."""
PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
# of a model of sentence-transformers, whose modules have folders: no other format of the weights
SENTENCE_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
SENTENCE_PICKLES = (*SENTENCE_FILES[:3], "*pytorch_model*.bin")


def package_folder(name: str) -> Path:
    """Folder of an installed package, found without importing it."""
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or found.origin is None:
        raise InputError(
            f"{PACKAGE}{name}: no package of that import name is installed; install it"
        )
    return Path(found.origin).parent


def sentence_model(spec: str) -> str:
    """The folder that sentence-transformers loads `spec` from; a hub id is downloaded.

    An id without an owner is one of sentence-transformers, as that package has it.

    Raises:
        InputError: there is no model, or the hub cannot be reached.
    """
    if spec.startswith(PACKAGE):
        root = package_folder(spec.removeprefix(PACKAGE))
        found = sorted(root.rglob("modules.json"))
        if not found:
            raise InputError(f"{spec}: {root} holds no sentence-transformers model (modules.json)")
        return str(found[0].parent)
    remedy = "give the model's local folder or `package:<import name>`"
    name = sentence_id(spec)
    folder = _folder(name, SENTENCE_FILES, remedy)
    if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
        raise InputError(f"{spec} is a folder without config.json or modules.json; no model there")
    if not Path(spec).is_dir() and not any(folder.rglob("*.safetensors")):
        folder = _folder(name, SENTENCE_PICKLES, remedy)
    return str(folder)


def sentence_id(spec: str) -> str:
    """Return a folder as it is, and a hub id with its owner."""
    return spec if "/" in spec or Path(spec).is_dir() else f"sentence-transformers/{spec}"


def cached_revision(spec: str) -> str | None:
    """Return the commit of a hub id that the local cache has; None where it has none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    path = Path(HF_HUB_CACHE) / f"models--{spec.replace('/', '--')}" / "refs/main"
    return path.read_text().strip() if _may_be_hub_id(spec) and path.is_file() else None


def _may_be_hub_id(spec: str) -> bool:
    return not spec.startswith((".", "/", "~")) and spec.count("/") <= 1


def model_files(spec: str, names: tuple[str, ...], remedy: str) -> Path:
    """The folder that has the files `names`: a local one, or those files of a hub id, downloaded.

    Raises:
        InputError: no such folder, files that are not there, or a hub that cannot be reached;
            `remedy` says what else to do.
    """
    folder = _folder(spec, names, remedy)
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"{spec} has no {name}; {remedy}")
    return folder


def first_file(spec: str, names: tuple[str, ...], remedy: str) -> Path:
    """The first of the files `names` that a folder or a hub id has; errors as in `model_files`."""
    folder = _folder(spec, names, remedy)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{spec} has no {' and no '.join(names)}; {remedy}")


def transformers_folder(spec: str, remedy: str) -> Path:
    """The folder of a model of transformers: local, `package:<import name>`, or a hub id's.

    Of a hub id, files of torch.save are downloaded only where there are no safetensors.

    Raises:
        InputError: there is none, it has no weights, or the hub cannot be reached.
    """
    if spec.startswith(PACKAGE):
        root = package_folder(spec.removeprefix(PACKAGE))
        found = sorted(root.rglob("config.json"))
        if len(found) != 1:
            raise InputError(f"{spec}: {root} holds {len(found)} models (config.json); {remedy}")
        folder = found[0].parent
    else:
        folder = _folder(spec, (*SETTINGS_FILES, *SAFETENSORS), remedy)
    if not (folder / "config.json").is_file():
        raise InputError(f"{spec} has no config.json; {remedy}")
    if not _has(folder, SAFETENSORS):
        if not Path(spec).is_dir() and not spec.startswith(PACKAGE):
            folder = _folder(spec, (*SETTINGS_FILES, *PICKLES), remedy)
        if not _has(folder, PICKLES):
            raise InputError(
                f"{spec} has no weights (model.safetensors or pytorch_model.bin); {remedy}"
            )
    return folder


def _has(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(path for pattern in patterns for path in folder.glob(pattern))


def _folder(spec: str, patterns: tuple[str, ...], remedy: str) -> Path:
    """A local folder, or one with those files of a hub id."""
    folder = Path(spec)
    if folder.is_dir():
        return folder
    if not _may_be_hub_id(spec):
        raise InputError(f"{spec}: no such folder; {remedy}")
    try:
        return Path(_fetched(spec, list(patterns)))
    except Exception as error:  # without a network it raises what the HTTP library pleases
        problem = textwrap.shorten(str(error).partition(". ")[0], 160, placeholder=" …")
        raise InputError(f"{spec} cannot be loaded ({problem}); {remedy}") from None


def _fetched(spec: str, patterns: list[str]) -> str:
    """The files of the revision that the local cache has; where it has none, of the newest.

    The library waits for a silent hub without end, so it is asked something small before.
    """
    from huggingface_hub import HfApi, snapshot_download

    pinned = cached_revision(spec)
    try:
        HfApi().model_info(spec, timeout=ANSWER)
    except Exception:  # without a network it raises what the HTTP library pleases
        try:
            return snapshot_download(
                spec, revision=pinned, allow_patterns=patterns, local_files_only=True
            )
        except Exception:  # noqa: S110
            pass
        raise
    return snapshot_download(spec, revision=pinned, allow_patterns=patterns)


def revision(folder: Path) -> str | None:
    """The commit that a folder of the hub's cache has; None of any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


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


def load_state(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Tensors by name from a .safetensors or (weights only, nothing else unpickled) .pth file.

    Args:
        path: the file.
        prefix: of the names that are wanted; of a .safetensors file no others are read.

    Raises:
        InputError: the file is damaged, of another kind, or holds more than tensors.
    """
    import torch
    from safetensors import safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
                return {name: file.get_tensor(name) for name in names}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        if isinstance(error, OSError) and error.filename:
            raise  # the disk's or the rights' fault
        kind = "safetensors" if path.suffix == ".safetensors" else "torch.save"
        name = refused_name(error)
        problem = f"it wants {name}, which is refused: save the state_dict alone"
        if name is None:
            problem = f"it is damaged or not a file of {kind}: get it again"
        raise InputError(f"{path} holds no plain tensors; {problem}") from None
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and hasattr(v, "shape") for k, v in state.items()
    ):
        raise InputError(f"{path} holds no mapping of names to tensors; save a state_dict")
    return {name: value for name, value in state.items() if name.startswith(prefix)}


def unwrapped(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return tensors without what torch's wrappers of modules put into their names.

    Raises:
        InputError: Two names are the same without it.
    """
    found = {re.sub(WRAPPERS, "", name): value for name, value in state.items()}
    if len(found) < len(state):
        raise InputError(f"{path} has tensors twice, with and without `module.`; keep one of each")
    return found


def indexed_files(index: Path) -> list[Path]:
    """Return the files of weights that an index of transformers (`….index.json`) names.

    Raises:
        InputError: The index is damaged, or a file is not there.
    """
    from mmts.files import read_json, require

    found = read_json(index, "get the model again", ours=False)
    names = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(names, dict) or not names:
        raise InputError(f"{index} names no files of weights (weight_map); get the model again")
    files = sorted(set(map(str, names.values())))
    for name in files:
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise InputError(f"{index} names {name!r}, which is no file beside it; get it again")
    return [require(index.parent / name, f"{index.name} names it; get it too") for name in files]


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a .safetensors file; tensors that share memory become tensors of their own.

    Whoever may read its folder may read it: the library alone lets nobody but the owner.
    """
    from safetensors.torch import save_file

    seen: set[int] = set()
    found = {}
    for name, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    save_file(found, path)
    path.chmod(path.parent.stat().st_mode & 0o666)


def refused_name(error: Exception) -> str | None:
    """The object that a pickle wanted, where that is why torch did not read it."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return found[1] if found else None


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, types, shapes and bytes of all tensors, in order of name."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
