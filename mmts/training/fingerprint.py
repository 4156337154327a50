"""All that a training's result depends on, as flat facts: what a checkpoint may be resumed with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

Facts = dict[str, Any]
"""Dotted key -> a JSON value."""

FORMAT = 2
"""Of the checkpoints; another number for files that the present code cannot go on from."""


def facts(
    plan: Mapping[str, Any], code: str, inputs: Mapping[str, str], *,
    seed: int, device: str, world_size: int,
) -> Facts:  # fmt: skip
    """Everything that decides the weights, metrics and curves of a run.

    Args:
        plan: of the cell, see `mmts.plan`.
        code: digest of what the stage runs.
        inputs: digests of what it reads, by name.
        seed: of the run.
        device: the type that is trained on, cpu or cuda.
        world_size: number of processes.
    """
    settings = {key: value for key, value in plan["settings"].items() if key != "seeds"}
    found: Facts = {}
    for name, part in {**plan, "settings": settings}.items():
        found |= _flat(name, part)
    found |= {"seed": seed, "device": device, "world_size": world_size}
    found |= {f"data.{name}": digest for name, digest in inputs.items()}
    return found | {"code": code, "format": FORMAT}


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
