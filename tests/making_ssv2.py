"""Made-up annotation files of Something-Something v2, in their official form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmts.sources.ssv2_lt import COUNTS

LABELS = tuple(COUNTS)
Entry = dict[str, object]
NAMES = {
    split: f"something-something-v2-{name}.json"
    for split, name in (("labels", "labels"), ("train", "train"), ("test", "validation"))
}


def entries(sizes: Mapping[str, int], first: int = 1, things: Sequence[str] = ()) -> list[Entry]:
    """So many clips of each class, with ids from `first` on, of the things in turn."""
    found: list[Entry] = []
    for label, size in sizes.items():
        template = label.replace("omething", "omething]")
        for mark in ("something]", "Something]"):
            template = template.replace(mark, f"[{mark}")
        for n in range(size):
            thing = things[n % len(things)] if things else f"cup {n}"
            found.append({
                "id": str(first + len(found)),
                "label": label.lower().replace("something", thing),
                "template": template,
                "placeholders": [thing] * label.lower().count("something"),
            })  # fmt: skip
    return found


def write_ssv2(
    raw: Path, train: list[Entry], test: list[Entry], labels: Iterable[str] = LABELS
) -> None:
    """The three official files."""
    numbers = {label: str(number) for number, label in enumerate(labels)}
    for split, value in (("labels", numbers), ("train", train), ("test", test)):
        (raw / NAMES[split]).write_text(json.dumps(value))
