"""Models: what turns media items and captions into rows of one space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import PlainValidator

from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    from mmts.kinds.stream import StreamKind
    from mmts.settings.towers import Towers
    from mmts.settings.training import Head
    from mmts.towers.model import Model
    from mmts.towers.tower import Shape

VISION = "vision"
"""What a model calls the stream of pictures, clips or their features."""


class Parts(NamedTuple):
    """What a model is built of.

    towers, head, streams: settings; streams are those beside the pictures or clips, by name.
    dims: `vision` and `text`, the lengths of the features of frozen towers; `vocabulary` where
        captions are token ids.
    matching: whether its `match` is wanted, so that what only that needs is built too.
    shapes: of a model that was trained before, its `shapes`. Weights are random then, and no file
        of them is looked for.
    """

    towers: Towers
    head: Head | None
    dims: Mapping[str, int]
    streams: Mapping[str, StreamKind] = {}
    matching: bool = False
    shapes: Mapping[str, Shape] | None = None


class ModelKind(Settings):
    """Base of the settings of a model."""

    kind: str
    matches: ClassVar[bool] = False
    """Whether it has a `match`, which loss terms and re-ranking may ask for."""
    headed: ClassVar[bool] = True
    """Whether it takes `train.head`."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that have its weights."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of its weights beside those of towers, for the plan."""
        return ()

    @property
    def given(self) -> bool:
        """Whether building it can fail for more than its towers."""
        return False

    def reads(self, stream: str) -> bool:
        """Return whether it reads a stream: VISION, or one of `datasets.NAME.streams`."""
        return True

    def check(self, towers: Towers, streams: Mapping[str, StreamKind]) -> None:
        """Raise ValueError if it cannot be built of these towers and streams."""

    @abstractmethod
    def build(self, parts: Parts) -> Model:
        """Return the model.

        Raises:
            InputError: weights that are not there or do not fit, or parts that do not go together.
        """
        raise NotImplementedError


MODELS = Registry("model", "mmts.kinds.model", ModelKind)
ModelOfSettings = Annotated[Any, MODELS, PlainValidator(MODELS.validated)]


def two_towers() -> ModelKind:
    """Return the settings of the default, a tower and a head for each side."""
    return MODELS.validated("two_tower")
