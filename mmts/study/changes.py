"""Changes to a method, as a study's settings write them -> the settings that they set."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mmts.errors import InputError, known
from mmts.kinds import Above0, From0
from mmts.params import validated
from mmts.settings.base import Settings, Share
from mmts.study.settings import Changes

CENTRED = ("centre", "alpha_share", "spread")
ROUNDED = 9
"""Decimals of a share of a centre."""


class Special(Settings):
    """The keys that are no settings of a method, see `mmts.study.settings.Grid`."""

    centre: Above0 | None = None
    alpha_share: From0 | None = None
    spread: Share | None = None
    shifts: Annotated[tuple[float, float] | None, Field(strict=False)] = None
    control: Literal["none", "reversed", "random"] | None = None
    imbalance: Annotated[float | None, Field(ge=1)] = None


def plain(changes: Changes, file: str, place: str) -> Changes:
    """Changes without the keys of `Special`, but for control and imbalance.

    Args:
        changes: of a cell.
        file: that they are from, for errors.
        place: dotted key in it, for errors.

    Raises:
        InputError: one of these keys has no sound value, or gives what another key gives too.
    """
    own = {key: changes[key] for key in changes if key in Special.model_fields}
    if None in own.values():
        raise InputError(f"{file}: {place} has a null among {', '.join(own)}; write a value")
    special = validated(Special, own, {(): place}, file)
    given: Changes = {}
    if special.shifts:
        given["shift_min"], given["shift_max"] = special.shifts
    if special.centre:
        given |= _around(special.centre, special.alpha_share, special.spread or 0.0)
    elif shares := [key for key in CENTRED if key in own]:
        raise InputError(f"{file}: {place}.{shares[0]} is a share of a centre; add `centre`")
    rest = {key: value for key, value in changes.items() if key not in (*CENTRED, "shifts")}
    twice = sorted(set(given) & set(rest))
    if special.shifts and special.centre:
        twice = ["shifts"]
    if twice:
        raise InputError(
            f"{file}: {place} gives {twice[0]}, which its centre or shifts give too; remove one"
        )
    return rest | given


def _around(centre: float, alpha_share: float | None, spread: float) -> Changes:
    found = {
        "shift_min": round(centre * (1 - spread), ROUNDED),
        "shift_max": round(centre * (1 + spread), ROUNDED),
    }
    if alpha_share is not None:
        found["alpha"] = round(centre * alpha_share, ROUNDED)
    return found


def over(chosen: Changes, varied: Changes) -> Changes:
    """Changes on top of the chosen ones; shifts take the place of a centre and its spread.

    The chosen alpha stays what it is, unless it is varied.
    """
    found = dict(chosen)
    if "alpha" in varied or "shifts" in varied:
        share = found.pop("alpha_share", None)
        if share is not None and "centre" in found:
            found["alpha"] = round(found["centre"] * share, ROUNDED)
    if "shifts" in varied:
        found = {key: value for key, value in found.items() if key not in CENTRED}
    return {**found, **varied}


def set_key(tree: dict[str, Any], key: str, value: Any, place: str, *, new: bool = False) -> None:
    """Set a dotted key; InputError where the tree lacks it, unless its last part may be `new`."""
    *parts, last = key.split(".")
    for part in parts:
        inner = tree.get(part)
        if not isinstance(inner, dict):
            raise InputError(f"{place} is not a setting; {known(part, tree)}")
        tree = inner
    if last not in tree and not new:
        raise InputError(f"{place} is not a setting; {known(last, tree)}")
    tree[last] = value
