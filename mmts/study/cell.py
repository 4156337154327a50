"""One training of a study: all that decides its result, and the key that this gives it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from mmts import config
from mmts.errors import InputError
from mmts.kinds.clustering import Clustering
from mmts.kinds.schedule import SCHEDULES
from mmts.kinds.shift import SHIFTS
from mmts.method import Method
from mmts.params import Places, validated
from mmts.settings.base import Seed, Settings
from mmts.settings.training import Train
from mmts.study.changes import plain, set_key
from mmts.study.settings import Changes, Tail
from mmts.training.fingerprint import digest_of

AS_FAST = {"workers", "device", "checkpoint", "launcher", "stream", "log_every", "validate_every"}
"""Settings of the recipe that change no weight, but how fast they come and what is logged."""


NO_DEFAULT = {"batch_size", "epochs", "head", "learning_rate", "weight_decay"}
"""Settings that had no default when the keys were first made, and stand in each of them."""
COSINE, LINEAR = "cosine", "linear"
"""What every method had when the keys were first made, with alpha 0 or equal shifts where it used
none. Settings of the cosine stood beside those of the method, and `shift_mapping` was the shift."""
NAMED_THEN = {
    "oscillations": "schedule.oscillations",
    "update_every": "schedule.update_every",
    "shift_mapping": "shift",
}
"""Keys of changes that are named as they were then, and the setting that each is now."""


class Cell(Settings):
    """One training; its fields and those of the dataset it names decide the result."""

    dataset: str
    name: str
    """Of the method."""
    method: Method
    train: Train
    clustering: Clustering
    control: Literal["none", "reversed", "random"] = "none"
    imbalance: float | None = None
    """None for the whole training split."""
    tail: Tail | None = None
    """How the split is drawn; None for the whole."""
    seed: Seed

    @model_validator(mode="after")
    def _imbalance(self) -> Cell:
        if self.tail is not None and (self.imbalance or 0) > self.tail.largest_ratio:
            raise ValueError(
                f"imbalance is {self.imbalance:g}, above tail.largest_ratio, "
                f"{self.tail.largest_ratio:g}; lower it, or raise that"
            )
        return self

    def facts(self, defaults: bool = True) -> dict[str, Any]:
        """What stands in its record; without `defaults`, only what differs from them."""

        def dump(settings: Settings, *without: str) -> dict[str, Any]:
            found = settings.model_dump(
                mode="json", exclude=set(without), exclude_defaults=not defaults
            )
            if not defaults:
                for name in NO_DEFAULT.intersection(type(settings).model_fields):
                    value = getattr(settings, name)
                    found[name] = dump(value) if isinstance(value, Settings) else value
            return found

        method = dump(self.method, "clustering", "relevancy_threshold", "schedule", "shift")
        schedule = dump(self.method.schedule or SCHEDULES.validated(COSINE))
        shift = dump(self.method.shift or SHIFTS.validated(LINEAR))
        if schedule["kind"] == COSINE:
            method |= {name: value for name, value in schedule.items() if name != "kind"}
        else:
            method["schedule"] = schedule
        method["shift_mapping"] = shift.pop("kind")
        if shift:
            method["shift"] = shift
        found = {
            "dataset": self.dataset,
            "name": self.name,
            "seed": self.seed,
            "method": method,
            "train": dump(self.train, *AS_FAST),
            "clustering": dump(self.clustering),
        }
        if self.control != "none":
            found["control"] = self.control
        if self.tail is not None:
            found |= {"imbalance": self.imbalance, "tail": dump(self.tail)}
        return found


class Base:
    """A dataset and the methods of params.yaml, for a study to change."""

    def __init__(self, dataset: str, names: tuple[str, ...], tail: Tail, path: str) -> None:
        """
        Args:
            dataset: its name.
            names: of the methods.
            tail: of the study.
            path: of params.yaml.

        Raises:
            InputError: it lacks the dataset or a method, or a method has a clustering of its own.
        """
        found = config.load(path)
        self.dataset, self._tail = dataset, tail
        try:
            self.methods: dict[str, Method] = {name: found.cell(dataset, name) for name in names}
        except InputError as error:
            told = str(error).removeprefix(f"{path}: ")
            raise InputError(f"{path}: {told}") from None
        of = found.datasets[dataset]
        self.train, self.towers, self.clustering = of.train, of.towers, of.clusterings["default"]
        self._data: dict[str, Any] = {
            "captions": _differing(of.captions),
            "embed": {"model": of.embed.model},
            "towers": _differing(of.towers),
        }
        if not self.towers.vision.frozen:  # it sees the packed pictures
            self._data["image_size"] = of.pack.image_size
        for name, method in self.methods.items():
            used = method.clustering
            if used.shift != "default" or used.relevancy:
                raise InputError(
                    f"{path}: methods.{name}.clustering is not `default`, the only one that a "
                    "study changes; leave the method out of the study"
                )

    def cell(self, name: str, changes: Changes, seed: int, file: str, place: str) -> Cell:
        """The cell of a method with changes.

        Args:
            name: of the method.
            changes: see `mmts.study.settings.Grid`.
            seed: of the weights and the order.
            file: that the changes are from, for errors.
            place: dotted key in it, for errors.

        Raises:
            InputError: a change is no setting, or makes an unsound method.
        """
        method = self.methods[name].model_dump(exclude_unset=True)
        train = self.train.model_dump()
        clustering = self.clustering.model_dump()
        others: dict[str, Any] = {}
        for key, value in plain(changes, file, place).items():
            part, _, rest = key.partition(".")
            where = f"{file}: {place}.{key}"
            if part == "train" and rest:
                set_key(train, rest, value, where)
            elif part == "clustering" and rest:
                set_key(clustering, rest, value, where)
            elif key in ("control", "imbalance"):
                others[key] = value
            else:
                set_key(method, NAMED_THEN.get(key, key), value, where, new=True)
        if "imbalance" in others:
            others["tail"] = self._tail
        places: Places = {(): place, ("method",): place}
        whole = {
            "dataset": self.dataset, "name": name, "method": method, "train": train,
            "clustering": clustering, "seed": seed, **others,
        }  # fmt: skip
        return validated(Cell, whole, places, f"{file} for {self.dataset}")

    def unsound(self, name: str, changes: Changes, file: str, place: str) -> bool:
        """Whether changes ask for what there cannot be.

        A temperature of 0, a margin below 0, or features of a vision tower that is trained.
        """
        method, found = self.methods[name], plain(changes, file, place)
        if found.get("clustering.features") == "vision" and not self.towers.vision.frozen:
            return True
        low, alpha = (found.get(key, getattr(method, key)) for key in ("shift_min", "alpha"))
        if not all(isinstance(number, int | float) for number in (low, alpha)):
            return False  # `cell` tells of it
        lowest = low - alpha / 2
        return bool(lowest < -1e-9 if method.quantity == "margin" else lowest <= 1e-9)

    def key(self, cell: Cell) -> str:
        """16 hex digits over all that decides the result of the cell, but the code.

        Settings count where they differ from their defaults, so that a new setting whose default
        changes nothing leaves the keys as they are.
        """
        return digest_of({**cell.facts(defaults=False), "data": self._data})


def _differing(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_defaults=True)
