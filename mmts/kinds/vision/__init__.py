"""Vision towers: encoders of pictures or clips."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator

from mmts.registry import Registry
from mmts.settings.base import Settings, Text

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class VisionKind(Settings):
    """Base of the settings of an encoder of pictures or clips."""

    name: str
    video: ClassVar[bool] = False
    """Whether it takes clips, and not pictures."""
    per_token: ClassVar[bool] = False
    """Whether its tower has `tokens`, the features of every patch, as `model: omni` reads them."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that have its models."""
    weights: Text
    """`random`, or which weights it starts from."""
    frozen: bool
    """A frozen tower is run once, in `embed`; a trainable one in every step."""
    image_size: Annotated[int, Field(ge=16, le=1024)]
    """Pixels a side of what the tower sees."""

    @property
    def frames(self) -> int | None:
        """Frames of the clips that it takes; None of pictures."""
        return None

    def frames_of(self, split: str) -> int | None:
        """Return the frames of the clips of a split; None of pictures."""
        return self.frames

    @property
    def squash(self) -> bool:
        """Whether frames are resized whole, without their aspect, and not cropped."""
        return False

    @property
    def models(self) -> tuple[str, ...]:
        """Files, folders, packages and hub ids that it is built of, for the plan."""
        return () if self.weights == "random" else (self.weights,)

    @abstractmethod
    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower: [N, 3, H, W] pictures, or [N, T, 3, H, W] clips, to [N, dim].

        Weights are from where the settings say, random only where they say so.

        Args:
            shape: that of a trained tower of these settings; all weights are random then, and
                nothing is read.

        Raises:
            InputError: there are no such weights, or they belong to another model.
        """
        raise NotImplementedError


VISION_TOWERS = Registry("vision tower", "mmts.kinds.vision", VisionKind, key="name")
VisionTower = Annotated[Any, VISION_TOWERS, PlainValidator(VISION_TOWERS.validated)]


def of_clips() -> str:
    """Return the names of the towers that take clips, for errors."""
    return " or ".join(name for name in VISION_TOWERS.kinds if VISION_TOWERS.load(name).video)
