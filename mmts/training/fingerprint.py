"""All that a training's result depends on, as flat facts: what a checkpoint may be resumed with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import mmts
from mmts.files import require
from mmts.sealed import sha256_file
from mmts.settings import Towers
from mmts.weights import fingerprint

Facts = dict[str, Any]
"""Dotted key -> a JSON value."""

FORMAT = 1
"""Of the checkpoints; another number for files that the present code cannot go on from."""

LEFT_OUT = ("train.workers", "train.device", "train.checkpoint", "train.launcher",
            "train.stream.url")  # fmt: skip
"""Settings, with all below them, that change neither weights nor metrics nor curves. What `device`
resolves to counts, see `facts`; log_every counts because the curves are a result; workers count
where shards are streamed, since each reads its own."""

CODE = ("losses", "modulators", "towers", "training", "shards", "video", "augment.py",
        "clusters.py", "embeddings.py", "jpeg.py", "media.py", "metrics/mir.py",
        "metrics/recall.py", "metrics/relevancy.py", "picture.py", "schedule.py",
        "tars.py", "weights.py")  # fmt: skip
"""What training runs of this package: what `dvc.yaml` has as the stage's dependencies."""

FREE = "code."
"""Start of the keys that a checkpoint which the user names may differ in."""


def facts(
    settings: Mapping[str, BaseModel],
    start: Mapping[str, object],
    files: Mapping[str, Path],
    *,
    seed: int,
    device: str,
    world_size: int,
) -> Facts:
    """Everything that decides the weights, metrics and curves of a run.

    Args:
        settings: by the name that their keys begin with: method, train, towers.
        start: models and the like before the first step, by name, and the tokenizer; those without
            parameters or buffers (a function, None) count for nothing.
        files: what is read, by name, see `input_files`; hashed whole.
        seed: of the run.
        device: the type that is trained on, cpu or cuda.
        world_size: number of processes.
    """
    from tokenizers import Tokenizer
    from torch import nn

    found: Facts = {}
    for name, part in settings.items():
        found |= _flat(name, part.model_dump(mode="json"))
    counted = ("train.workers",) if "train.stream.url" in found else ()
    found = {k: v for k, v in found.items() if k in counted or not _below(k, LEFT_OUT)}
    found |= {"seed": seed, "device": device, "world_size": world_size}
    found |= {f"data.{name}": sha256_file(path) for name, path in files.items()}
    found |= {f"code.{name}": code_hash(Path(mmts.__file__).parent / name) for name in CODE}
    for name, module in start.items():
        if isinstance(module, nn.Module) and module.state_dict():
            found[f"start.{name}"] = fingerprint(module.state_dict())
        elif isinstance(module, Tokenizer):
            found[f"start.{name}"] = hashlib.sha256(module.to_str().encode()).hexdigest()
    return found | {"format": FORMAT}


def input_files(data: Path, dataset: str, method: str, towers: Towers) -> dict[str, Path]:
    """What the stage `train` reads of a cell, by name.

    The manifest of the shards has the SHA-256 of each of them. Vectors are of use to frozen towers
    alone.
    """
    embed, shift = data / "embed" / dataset, data / "shift" / dataset / method
    paths = [data / "shards" / dataset / "manifest.json", shift / "shift.parquet"]
    optional = [shift / "clusters.parquet"]
    if towers.vision.frozen or towers.text.frozen:
        paths.append(embed / "ids.parquet")
    if towers.vision.frozen:
        paths.append(embed / "vision.npy")
    if towers.text.frozen:
        paths += [embed / "caption_text.npy", embed / "text.npy"]
        optional.append(embed / "text_features.npy")
    paths = [require(path, "run `dvc repro`") for path in paths]
    paths += [path for path in optional if path.exists()]
    return {str(path.relative_to(data)): path for path in paths}


def code_hash(path: Path) -> str:
    """Hex SHA-256 over names and bytes of a Python file, or of all below a folder."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        digest.update(f"{file.relative_to(path.parent).as_posix()} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def digest_of(found: Facts) -> str:
    """The first 16 hex digits of the SHA-256 of the facts: the name of their folder."""
    return hashlib.sha256(_canonical(found).encode()).hexdigest()[:16]


def difference(mine: Facts, theirs: Facts) -> str | None:
    """The first key whose values differ: `KEY is A here and B there`. None where all agree."""
    key = first_difference(mine, theirs)
    if key is None:
        return None
    return f"{key} is {_shown(mine, key)} here and {_shown(theirs, key)} there"


def first_difference(mine: Facts, theirs: Facts) -> str | None:
    """The first key, in the order of `mine`, whose values differ."""
    for key in dict.fromkeys(chain(mine, theirs)):
        if key not in mine or key not in theirs or _canonical(mine[key]) != _canonical(theirs[key]):
            return key
    return None


def _shown(found: Facts, key: str) -> str:
    text = _canonical(found[key]) if key in found else "nothing"
    return text if len(text) <= 40 else f"{text[:13]}…"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _flat(prefix: str, value: Any) -> Facts:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        k: v for name, part in value.items() for k, v in _flat(f"{prefix}.{name}", part).items()
    }


def _below(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
