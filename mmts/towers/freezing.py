"""Freeze parts of a model by their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from mmts.errors import InputError


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Stop the training of parameters whose names match a glob pattern; return their names.

    `vision.blocks.0.*` is the first block of the vision tower; `*` also spans dots. Either all
    patterns match something, or nothing is frozen.

    Raises:
        InputError: a pattern matches no parameter; the nearest names are given.
    """
    parameters = dict(model.named_parameters())
    frozen: set[str] = set()
    for pattern in patterns:
        matching = {name for name in parameters if fnmatchcase(name, pattern)}
        if not matching:
            raise InputError(
                f"towers.frozen_parts: {pattern!r} matches no parameter; "
                f"{near(pattern, parameters)}"
            )
        frozen |= matching
    for name in frozen:
        parameters[name].requires_grad_(False)
    return [name for name in parameters if name in frozen]


def freeze_parts(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze parts of a whole model; InputError where a pattern names none, or nothing is left."""
    freeze(model, patterns)
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError(
            "nothing of the model is trained: without train.head, a tower must be; with "
            "towers.frozen_parts, a part must be left out"
        )


def frozen_norms(model: nn.Module) -> list[nn.Module]:
    """The batch norms that have parameters and train none of them."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return [n for n in norms if n.affine and not any(p.requires_grad for p in n.parameters())]


def near(pattern: str, names: Iterable[str]) -> str:
    """Return which names a pattern may have meant, a part's name with `.*` among them."""
    names = list(names)
    parts = {
        ".".join([*steps[:i], "*"])
        for steps in (name.split(".") for name in names)
        for i in range(1, len(steps))
    }
    near = difflib.get_close_matches(pattern, sorted({*names, *parts}), n=3, cutoff=0.4)
    return "near it: " + ", ".join(near) if near else "the names are those of named_parameters()"
