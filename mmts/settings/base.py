"""What all settings share, and the types of single values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

END = 2**31
"""Whole numbers are below it: each fits wherever libraries take one."""
Positive = Annotated[int, Field(gt=0, lt=END)]
Count = Annotated[int, Field(ge=0, lt=END)]
Width = Annotated[int, Field(gt=0, le=16384)]
"""Of a layer: a slip of the key would fill the memory."""
Layers = Annotated[int, Field(gt=0, le=1024)]
Workers = Annotated[int, Field(ge=0, le=1024)]
"""Processes."""
Resamples = Annotated[int, Field(ge=100, le=1_000_000)]
"""Of a bootstrap, which keeps a number of each."""
NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, Field(min_length=1, pattern=NO_NUL)]
"""A file, a column or the name of a model."""
Folder = Annotated[str, Field(pattern=NO_NUL)]
"""A folder; empty for the one that it is relative to."""
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=64)]


def check_apart(names: Iterable[str], what: str) -> None:
    """ValueError naming two names that are one folder where case does not count."""
    seen: dict[str, str] = {}
    for name in names:
        if seen.setdefault(name.lower(), name) != name:
            raise ValueError(
                f"{what} {seen[name.lower()]} and {name} differ in case alone, and some disks have "
                "one folder for both; rename one"
            )


class NoResult:
    """Marks a field, in its `Annotated`, that changes no result: see `mmts.plan`."""


NO_RESULT = NoResult()


class Settings(BaseModel):
    """Base of all settings: no unknown keys, no silent conversion of types, no later change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
