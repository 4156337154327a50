"""One training of a study: all that decides its result, and the key that this gives it."""

from __future__ import annotations

from typing import Any, Literal

from mmts.config import (
    CaptionsStage,
    ClusterStage,
    EmbedStage,
    StageSettings,
    TrainStage,
    from_tree,
)
from mmts.errors import InputError
from mmts.method import Method
from mmts.params import read_params, validated
from mmts.settings import Clustering, Seed, Settings, Towers, Train
from mmts.study.settings import Changes, Tail
from mmts.training.fingerprint import digest_of

AS_FAST = {"workers", "device", "checkpoint", "launcher", "stream", "log_every", "validate_every"}
"""Settings of the recipe that change no weight, but how fast they come and what is logged."""


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

    def facts(self) -> dict[str, Any]:
        """What stands in its record."""
        method = self.method.model_dump(mode="json", exclude={"clustering", "tau_default"})
        if not self.method.clustering.relevancy:
            del method["relevancy_threshold"]
        found = {
            "dataset": self.dataset,
            "name": self.name,
            "seed": self.seed,
            "method": method,
            "train": self.train.model_dump(mode="json", exclude=AS_FAST),
            "clustering": self.clustering.model_dump(mode="json"),
        }
        if self.control != "none":
            found["control"] = self.control
        if self.tail is not None:
            found |= {"imbalance": self.imbalance, "tail": self.tail.model_dump(mode="json")}
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
        """
        tree = read_params(path)

        def read(stage: type[StageSettings], **cell: str) -> Any:
            return from_tree(stage, tree, path, {"dataset": dataset, **cell})

        self.dataset, self._tail = dataset, tail
        self.methods: dict[str, TrainStage] = {n: read(TrainStage, method=n) for n in names}
        self.towers: Towers = next(iter(self.methods.values())).towers
        self.clustering: Clustering = read(ClusterStage).clusterings["default"]
        self._data = {
            "captions": read(CaptionsStage).captions.model_dump(mode="json"),
            "embed": read(EmbedStage).embed.model_dump(mode="json", exclude={"batch_size"}),
            "towers": self.towers.model_dump(mode="json"),
        }
        for name, stage in self.methods.items():
            used = stage.method.clustering
            if used.shift != "default" or used.relevancy:
                raise InputError(
                    f"{path}: methods.{name}.clustering is not `default`, the only one that a "
                    "study changes; leave the method out of the study"
                )

    def cell(self, name: str, changes: Changes, seed: int, where: str) -> Cell:
        """The cell of a method with changes.

        Raises:
            InputError: a change is no setting, or makes an unsound method; begins with `where`.
        """
        base = self.methods[name]
        method = base.method.model_dump(exclude_unset=True)
        train = base.train.model_dump()
        clustering = self.clustering.model_dump()
        others: dict[str, Any] = {}
        for key, value in _plain(changes, where).items():
            part, _, rest = key.partition(".")
            if part == "train" and rest:
                _set(train, rest, value, f"{where}.{key}")
            elif part == "clustering" and rest:
                _set(clustering, rest, value, f"{where}.{key}")
            elif key in ("control", "imbalance"):
                others[key] = value
            else:
                _set(method, key, value, f"{where}.{key}", new=True)
        if "imbalance" in others:
            others["tail"] = self._tail
        places: dict[tuple[str, ...], str] = {(): where, ("method",): where}
        whole = {
            "dataset": self.dataset, "name": name, "method": method, "train": train,
            "clustering": clustering, "seed": seed, **others,
        }  # fmt: skip
        return validated(Cell, whole, places, f"study of {self.dataset}")

    def key(self, cell: Cell) -> str:
        """16 hex digits over all that decides the result of the cell, but the code."""
        return digest_of({**cell.facts(), "data": self._data})


def _plain(changes: Changes, where: str) -> Changes:
    """Changes without the keys that are shares of a centre, or `shifts`."""
    found = dict(changes)
    if "shifts" in found:
        found["shift_min"], found["shift_max"] = found.pop("shifts")
    centre = found.pop("centre", None)
    shares = {key: found.pop(key) for key in ("alpha_share", "spread") if key in found}
    if centre is None:
        if shares:
            raise InputError(f"{where}: {next(iter(shares))} is a share of centre; add a centre")
        return found
    spread = shares.get("spread", 0.0)
    found |= {
        "tau_default": centre,
        "shift_min": round(centre * (1 - spread), 9),
        "shift_max": round(centre * (1 + spread), 9),
    }
    if "alpha_share" in shares:
        found["alpha"] = round(centre * shares["alpha_share"], 9)
    return found


def _set(tree: dict[str, Any], key: str, value: Any, place: str, *, new: bool = False) -> None:
    """Set a dotted key; InputError where the tree lacks it, unless its last part may be `new`."""
    *parts, last = key.split(".")
    for part in parts:
        if not isinstance(tree.get(part), dict):
            raise InputError(f"{place} is not a setting")
        tree = tree[part]
    if last not in tree and not new:
        raise InputError(f"{place} is not a setting")
    tree[last] = value
