"""Text towers: encoders of captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import PlainValidator, model_validator

from mmts.errors import KindFault, kind_file
from mmts.registry import Registry
from mmts.settings.base import Settings, Text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mmts.towers.tower import Shape, Tower


class TextKind(Settings):
    """Base of the settings of an encoder of captions."""

    name: str
    tokens: ClassVar[bool] = True
    """Whether it reads token ids; else `weights` is a sentence encoder, which `embed` runs."""
    crosses: ClassVar[bool] = False
    """Whether its tower can attend to media items too, as `model: omni` has it match them."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that have its models."""
    weights: Text
    """`random`, or which weights it starts from."""
    frozen: bool
    """A frozen tower is run once, in `embed`; a trainable one in every step."""

    @model_validator(mode="after")
    def _complete(self) -> TextKind:
        for name in ("build", "make_tokenizer") if self.tokens else ():
            if getattr(type(self), name) is getattr(TextKind, name):
                file = kind_file(type(self).__module__)
                raise KindFault(f"{file}: its Kind lacks {name}; write it as TextKind describes it")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """Files, folders, packages and hub ids that it is built of, for the plan."""
        return () if self.weights == "random" else (self.weights,)

    def build(self, vocabulary: int, shape: Shape | None = None) -> Tower:
        """Return the tower: [N, L] token ids to [N, dim].

        Args:
            vocabulary: number of ids of the tokenizer.
            shape: that of a trained tower of these settings; all weights are random then, and
                nothing is read.

        Raises:
            InputError: there are no such weights, or fewer ids in them than in the vocabulary.
        """
        raise NotImplementedError

    def make_tokenizer(self, captions: Callable[[], Iterable[str]]) -> Tokenizer:
        """Return a tokenizer that cuts and pads as the tower wants it.

        Args:
            captions: the training captions; called where the tokenizer is learned.

        Raises:
            InputError: it cannot be loaded, or does not fit the tower.
        """
        raise NotImplementedError


TEXT_TOWERS = Registry("text tower", "mmts.kinds.text", TextKind, key="name")
TextTower = Annotated[Any, TEXT_TOWERS, PlainValidator(TEXT_TOWERS.validated)]
