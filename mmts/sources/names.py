"""Names of images that come from somebody's files: they stay inside their folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmts.errors import InputError
from mmts.media import SEPARATOR

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
ESCAPES = rf"^[/\\~]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|{SEPARATOR}|[\x00-\x1f]"


def key_and_ending(name: str) -> tuple[str, str]:
    """`a/000.JPG` as `a/000` and `.jpg`; the ending is empty where there is none."""
    key, dot, ending = name.rpartition(".")
    return (key, f".{ending.lower()}") if dot else (name, "")


def is_whole(text: str) -> bool:
    """Whether UTF-8 can hold the text: JSON may have half a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object, most: int = 100) -> str:
    """A value as an error shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def check_inside(names: pd.Series, path: Path, what: str = "line") -> None:
    """InputError naming the first name that is absolute, climbs out of its folder, or is no name.

    Args:
        names: of images, relative to their folder; the index says where each stands in `path`.
        path: the file that names them.
        what: what the index counts.
    """
    bad = names.str.contains(ESCAPES, regex=True)
    if bad.any():
        at = names.index[bad.to_numpy()][0]
        name = shown(names[bad].iloc[0])
        raise InputError(
            f"{path} {what} {at}: the image {name} lies outside of its folder; "
            "name it by a path inside it"
        )


def check_once(names: pd.Series, path: Path, what: str = "line") -> None:
    """InputError naming the first image that stands twice."""
    twice = names.duplicated()
    if twice.any():
        name = names[twice].iloc[0]
        first, second = names.index[(names == name).to_numpy()][:2]
        raise InputError(
            f"{path} {what} {second}: the image {shown(name)} stands in {what} {first} "
            "too; keep one"
        )
