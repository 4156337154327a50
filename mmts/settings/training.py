"""Training and evaluation of a dataset."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from mmts.kinds.measure import MeasureOrNone
from mmts.kinds.rerank import Rerank
from mmts.settings.base import (
    END,
    NO_RESULT,
    Count,
    Positive,
    Resamples,
    Seed,
    Settings,
    Share,
    Text,
    Width,
    Workers,
)


class Head(Settings):
    """The trained projection on top of each tower."""

    dim: Width
    """Dimensions of the shared space."""
    hidden: Width | None = None
    """Width of the hidden layer; null for a linear head."""
    dropout: Share = 0.0
    norm: bool = True
    """Layer norm, without weights of its own, in front."""


AreaShare = Annotated[float, Field(gt=0, le=1)]


class Augment(Settings):
    """How pictures are changed in training: a random crop, half of them mirrored, RandAugment.

    Clips have jittered frames, and one crop for all of them that is not mirrored.
    """

    crop_area: Annotated[tuple[AreaShare, AreaShare], Field(strict=False)] = (0.5, 1.0)
    """Least and greatest share of the area that a crop takes."""
    ops: Count = 0
    """Of RandAugment (arXiv 1909.13719): operations a picture, N; 0 for none."""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 0
    """Of RandAugment: strength of all operations, M."""

    @model_validator(mode="after")
    def _ordered(self) -> Augment:
        low, high = self.crop_area
        if low > high:
            raise ValueError(f"crop_area begins at {low}, above its end {high}; swap them")
        if self.magnitude and not self.ops:
            raise ValueError(
                f"magnitude is {self.magnitude} but ops is 0, so nothing is done; set ops, or "
                "magnitude to 0"
            )
        return self


def _augment(value: Any) -> Any:
    """true is short for the defaults, false for none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


def _none(value: Any) -> Any:
    """false for none."""
    return None if value is False else value


class Checkpointing(Settings):
    """When a training that may be interrupted is saved; see docs/resume.md."""

    every_steps: Positive | None = None
    """Null for not by steps."""
    every_minutes: Annotated[float, Field(ge=0)] = 10.0
    """0 for not by time."""


class Stream(Settings):
    """Where training pictures or clips come from instead of local shards; see docs/streaming.md."""

    url: Annotated[Text, NO_RESULT]
    """What the names of the shards follow after, see `mmts.shards.stream`."""
    buffer: Count = 10000
    """Samples that a process holds in memory and mixes."""


def _by_pattern(value: Any) -> tuple[tuple[str, float], ...]:
    """A mapping as pairs, whose order counts in the plan too."""
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    sound = isinstance(pairs, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in pairs
    )
    if not sound:
        raise ValueError(
            f"it is {reprlib.repr(value)}; write a mapping of names' patterns to learning rates"
        )
    for pattern, rate in pairs:
        number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if not number or not 0 < rate < math.inf:
            raise ValueError(
                f"{pattern} is {reprlib.repr(rate)}; a learning rate is a number above 0"
            )
    return tuple((pattern, float(rate)) for pattern, rate in pairs)


class Train(Settings):
    """The recipe of a dataset; the defaults are for heads on features of frozen towers."""

    epochs: Positive = 30
    """Passes over the training items, each with one of its captions."""
    batch_size: Annotated[int, Field(ge=2, lt=END)] = 256
    """Pairs of a step, over all processes."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Of AdamW, after the warm-up."""
    learning_rates: Annotated[Any, PlainValidator(_by_pattern)] = ()
    """Of parts of the model, by patterns of the parameters' names, such as {"vision.*": 5.0e-7};
    the first that matches counts, and its whole curve is that of `learning_rate`, scaled."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls after the warm-up."""
    min_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    """Where it ends."""
    warmup_from: Annotated[float, Field(ge=0)] = 0.0
    """Where the linear warm-up starts."""
    warmup_steps: Count = 0
    """Steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Of AdamW."""
    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.9, 0.999)
    """Of AdamW: how much of its means of the gradient and of its square is kept in a step."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Of AdamW: added to the root of the mean square."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; null for any."""
    head: Annotated[Head | None, BeforeValidator(_none)] = Head(dim=256, hidden=512, dropout=0.5)
    """false for none: the towers' own features, which must be of one length."""
    positive_relevancy: Share | None = None
    """Where captions have graded relevancy (EPIC-KITCHENS-100): a clip's positive caption is drawn
    from all whose relevancy to it is above this; null draws from its own."""
    augment: Annotated[Augment | None, BeforeValidator(_augment)] = None
    """true for the defaults, false for none; needs a trainable vision tower."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the towers, by autocast; the loss is always in fp32. fp16 needs CUDA."""
    compile: bool = False
    """torch.compile of the towers: minutes at the start, faster steps on a GPU."""
    channels_last: bool = False
    """Memory format of pictures and convolutions; faster for convolutional towers."""
    micro_batch_size: Positive | None = None
    """Pairs a process encodes at once; the loss and its gradient stay those of the whole batch
    (GradCache), for a second forward pass. Batch norm sees the parts. Null for all at once."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validate and keep a moving average of the weights, such as 0.999; null for the last ones."""
    checkpoint: Annotated[Checkpointing, NO_RESULT] = Checkpointing()
    launcher: Annotated[
        Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None, NO_RESULT
    ] = None
    """What starts the stage, such as [torchrun, --standalone, --nproc-per-node, "8"]; null for one
    process."""
    log_every: Positive = 10
    """Steps between two logged points."""
    validate_every: Positive = 10
    """Epochs between two looks at the validation split; the last epoch always has one."""
    workers: Annotated[Workers, NO_RESULT] = 0
    """Processes that decode pictures; 0 decodes in the training process. Where shards are streamed
    it does change the result, since each process reads its own."""
    threads: Annotated[int, Field(ge=0, lt=END)] = 1
    """That share a computation on a CPU: one is fastest for heads on cached features; where towers
    are trained, more are faster, and the weights depend on their number in the last digits. 0
    for OMP_NUM_THREADS, or the cores."""
    stream: Stream | None = None
    """Null for the local shards."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""

    @model_validator(mode="after")
    def _rates(self) -> Train:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate} is above learning_rate "
                f"{self.learning_rate}"
            )
        return self


class Evaluate(Settings):
    """Retrieval on the test split."""

    batch_size: Positive = 256
    """Items that the model encodes at once."""
    bootstrap: Resamples = 1000
    """Resamples behind the 95 % intervals."""
    examples: Count = 8
    """Queries a direction whose top 5 are kept for the results page."""
    measure: MeasureOrNone = None
    """What models are judged by, a name or a mapping with its `kind`; null for `multi_instance`
    where all captions have graded relevancy (EPIC-KITCHENS-100), else `recall`."""
    rerank: Rerank = None
    """Null for none, or a mapping with its `kind`: the best answers to each query are then scored
    once more, and all numbers are given without and with it."""
    workers: Annotated[Workers, NO_RESULT] = 0
    """Processes that decode pictures or clips; 0 decodes in the stage's own process."""
    seed: Seed = 0
