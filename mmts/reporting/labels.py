"""Where to write names on a scatter plot so that they hide little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """A label's middle, and half its width and height."""

    middle: np.ndarray
    half: np.ndarray

    def touches(self, other: Box) -> bool:
        """Whether the two boxes overlap."""
        return bool((np.abs(self.middle - other.middle) < self.half + other.half).all())


def label_places(places: np.ndarray, wanted: list[np.ndarray], names: list[str]) -> list[Box]:
    """A box for each name near its wanted place, off the other names and off most points."""
    span = np.ptp(places, axis=0)
    taken: list[Box] = []
    for place, name in zip(wanted, names, strict=True):
        half = span * np.array([0.0052 * len(name), 0.019])

        def cost(offset: np.ndarray, place: np.ndarray = place, half: np.ndarray = half) -> float:
            box = Box(place + offset, half)
            names_hit = sum(box.touches(other) for other in taken)
            points_hit = int((np.abs(places - box.middle) < half).all(axis=1).sum())
            return 1000 * names_hit + points_hit + 150 * float(np.abs(offset / span).sum())

        taken.append(Box(place + min(_offsets(span), key=cost), half))
    return taken


def _offsets(span: np.ndarray) -> list[np.ndarray]:
    steps = [(x, y) for y in range(-6, 7) for x in range(-4, 5)]
    return [span * np.array([x * 0.02, y * 0.02]) for x, y in steps]
