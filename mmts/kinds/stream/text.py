"""A text beside each picture or clip, such as its subtitle, as ids of the text tower's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from mmts.errors import InputError, first_line
from mmts.kinds.stream import StreamKind
from mmts.settings.base import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer


class Kind(StreamKind):
    """A text: UTF-8 in the shards, token ids in the model."""

    kind: Literal["text"]
    column: Text
    max_tokens: Annotated[int, Field(ge=4, le=65536)] = 70
    """Every text is cut to so many tokens, or padded to them."""
    extension = "txt"
    label = "text"
    two_tower = False
    not_packed = frozenset({"max_tokens"})
    _tokenizer: Any = PrivateAttr(None)

    def pack(self, value: Any) -> bytes:
        """Return the text in UTF-8 without blanks around it; ValueError where it is none."""
        if not isinstance(value, str):
            raise ValueError(f"it is a {type(value).__name__}, not a text")
        return value.strip().encode()

    def with_tokenizer(self, tokenizer: Tokenizer | None) -> Kind:
        """Return a copy whose `load` tokenises; InputError where there is no tokenizer."""
        from tokenizers import Tokenizer

        if tokenizer is None:
            raise InputError(
                f"the stream of the column {self.column} is a text, read by the tokenizer of the "
                "text tower, but towers.text is frozen; set towers.text.frozen to false, or leave "
                "the stream out"
            )
        pad = 0 if tokenizer.padding is None else tokenizer.padding["pad_id"]
        own = Tokenizer.from_str(tokenizer.to_str())
        own.enable_truncation(self.max_tokens)
        own.enable_padding(
            length=self.max_tokens, pad_id=pad, pad_token=own.id_to_token(pad) or "[PAD]"
        )
        copy = self.model_copy()
        copy._tokenizer = own
        return copy

    def load(self, data: bytes, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return the token ids, [max_tokens] int64."""
        import numpy as np

        if self._tokenizer is None:
            raise ValueError("it has no tokenizer: see with_tokenizer")
        text = data.decode()
        try:
            ids = self._tokenizer.encode(text).ids
        except Exception as error:  # the library raises no narrower one
            raise ValueError(f"the text tower's tokenizer fails: {first_line(error)}") from None
        return np.array(ids, np.int64)
