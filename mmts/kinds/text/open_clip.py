"""A text tower of open_clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmts.kinds.text._parts import Published
from mmts.settings.base import Text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mmts.towers.tower import Shape, Tower


class Kind(Published):
    """A text tower of open_clip, an extra."""

    name: Literal["open_clip"]
    packages = ("open_clip_torch",)
    weights: Text
    """`random`, or the tag of pretrained weights, or a file of them."""
    model: Text
    """The model's name there."""
    tokenizer: Text
    """A folder with a tokenizer.json, or a hub id."""

    @property
    def models(self) -> tuple[str, ...]:
        """Tokenizer and file; other weights are the package's, whose version is known."""
        return tuple(n for n in super().models if n != self.weights or Path(n).is_file())

    def build(self, vocabulary: int, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.extras import open_clip_text

        return open_clip_text(self, shape)

    def make_tokenizer(self, captions: Callable[[], Iterable[str]]) -> Tokenizer:
        """Return the one that is named."""
        from mmts.towers.extras import open_clip_sizes
        from mmts.towers.tokens import check_vocabulary, given_tokenizer, vocabulary_size

        found = given_tokenizer(self.tokenizer)
        context, own = open_clip_sizes(self.model)
        check_vocabulary(self, vocabulary_size(found), own)
        return self.cut(found, context)
