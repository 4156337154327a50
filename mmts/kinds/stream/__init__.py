"""Streams: what stands beside the picture or the frames of a media item, under a name.

A stream is packed as the member `<key>.<name>.<extension>` of a sample, so that a shard can be read
by stock tools, and reaches the model as one array an item.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field, PlainValidator, model_validator

from mmts.errors import InputError, KindFault, kind_file
from mmts.registry import Registry
from mmts.settings.base import Settings, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from torch import Tensor, nn

IMAGE, FRAMES, FEATURES = "image", "frames", "features"
"""What the models call the stream that every item has: the picture, the frames of the clip, or what
a frozen tower made of either. Among stored members the picture or clip is IMAGE."""
NAME, ENDING = re.compile("[a-z][a-z0-9_]{0,31}"), re.compile("[a-z0-9]{1,16}")
"""Of a stream, and of its member; in lower case, as stock readers of shards take them."""


class Origin(NamedTuple):
    """What the member of a media item is made of.

    value: of the item in the column of the stream; None of a stream without one.
    media: the picture or the video, as the captions table names it.
    start, stop: of a clip, in seconds of its video (infinity for its end); None of a picture.
    """

    value: Any
    media: str
    start: float | None = None
    stop: float | None = None


class Lacking(NamedTuple):
    """What a kind gives in place of a member that cannot be made: an item without that stream.

    It is packed as a member of no bytes, counted, and listed with the reason.

    reason: what is the matter; the words before a colon count it.
    """

    reason: str


EMPTY = Lacking("empty")
"""Of a member that the kind packs as no bytes."""


class StreamKind(Settings):
    """Base of the settings of a stream."""

    kind: str
    column: Text | None = None
    """The column that it is made of, which `stream_columns` of the source names; None of a kind
    that cuts its members from the media."""
    extension: ClassVar[str]
    """Of its member in a sample."""
    label: ClassVar[str]
    """Its name in tables and figures."""
    noun: ClassVar[str] = ""
    """What an item lacks whose member has no bytes; empty for the name of the stream."""
    two_tower: ClassVar[bool] = True
    """Whether it has an `encoder`: without one, the two-tower model cannot read it."""
    not_packed: ClassVar[frozenset[str]] = frozenset()
    """Settings that change no member, only how one is loaded; they need defaults."""

    @model_validator(mode="after")
    def _complete(self) -> StreamKind:
        if not ENDING.fullmatch(self.extension):
            raise ValueError(
                f"the extension of {self.kind} is {self.extension!r}; use lower-case letters and "
                "digits, such as wav"
            )
        if type(self).pack is StreamKind.pack and type(self).members is StreamKind.members:
            file = kind_file(type(self).__module__)
            raise KindFault(f"{file}: its Kind has neither pack nor members; write pack")
        if self.two_tower and type(self).encoder is StreamKind.encoder:
            file = kind_file(type(self).__module__)
            raise KindFault(f"{file}: its Kind lacks encoder; write it as StreamKind describes it")
        for name in sorted(self.not_packed):
            field = type(self).model_fields.get(name)
            if field is None or field.is_required():
                file = kind_file(type(self).__module__)
                raise KindFault(f"{file}: not_packed names {name}; name settings with a default")
        return self

    @property
    def packed(self) -> dict[str, Any]:
        """The settings that decide the members."""
        return self.model_dump(mode="json", exclude=set(self.not_packed))

    def pack(self, value: Any) -> bytes:
        """Return what is stored of an item; ValueError if it cannot be made of the value.

        Args:
            value: of the item in `column`: what JSON can say.
        """
        raise NotImplementedError

    def members(self, items: Sequence[Origin]) -> Iterable[bytes | Lacking]:
        """Return what is stored of each of some items, in their order, or why one has none.

        They are one picture, or all clips of one video: a kind that cuts its stream from the video
        overrides this, and needs one pass.
        """
        return (self.pack(item.value) for item in items)

    def with_tokenizer(self, tokenizer: Tokenizer | None) -> StreamKind:
        """Return the kind as the model reads it: itself, unless it is a text.

        Args:
            tokenizer: of the text tower; None of one that is frozen.
        """
        return self

    @abstractmethod
    def load(self, data: bytes, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return the array of an item; ValueError if the data is none.

        All arrays of a batch must be of one shape and type. The encoder gets floats as float32, and
        whole numbers as int64, but for uint8.

        Args:
            data: what was stored.
            rng: for augmentation; None outside of training.
        """
        raise NotImplementedError

    def encoder(self) -> nn.Module:
        """Return what reads the stream in the two-tower model.

        Its `forward` takes [N, ...], the arrays of a batch, and gives features [N, dim]; it has
        `dim` as an attribute. They are concatenated with the features of the vision tower.

        Raises:
            InputError: there is none (`two_tower = False`).
        """
        raise InputError(
            f"a stream of kind {self.kind} is not read by `model: two_tower`; set model to omni, "
            "or leave the stream out"
        )


STREAMS = Registry("stream", "mmts.kinds.stream", StreamKind)
Stream = Annotated[Any, STREAMS, PlainValidator(STREAMS.validated)]
StreamName = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


def encoders(streams: Mapping[str, StreamKind]) -> nn.ModuleDict:
    """Return the encoder of each stream by name; InputError where one has none or no `dim`."""
    from torch import nn

    found = {name: kind.encoder() for name, kind in streams.items()}
    for name, encoder in found.items():
        if not isinstance(encoder, nn.Module) or not isinstance(getattr(encoder, "dim", None), int):
            raise InputError(
                f"stream {name}: `encoder` of {streams[name].kind} gives a "
                f"{type(encoder).__name__} without a `dim`; let it give an nn.Module whose `dim` "
                "is how many features it has"
            )
    return nn.ModuleDict(found)


def encoded(name: str, encoder: nn.Module, arrays: Tensor) -> Tensor:
    """Return the features of a stream, [N, dim]; InputError where the encoder gives others.

    Args:
        name: of the stream, for errors.
        encoder: of `encoders`.
        arrays: of some items, [N, ...].
    """
    features: Tensor = encoder(arrays)
    shape, wanted = list(features.shape), [len(arrays), encoder.dim]
    if shape != wanted:
        raise InputError(
            f"stream {name}: its encoder gives features of shape {shape} for {len(arrays)} items, "
            f"but its `dim` is {encoder.dim}; let it give {wanted}"
        )
    return features


def _as_models_take_it(array: NDArray[Any]) -> NDArray[Any]:
    """Floats as float32, and whole numbers as int64; bytes, as of pictures, stay bytes."""
    import numpy as np

    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    kept = array.dtype in (np.uint8, np.bool_)
    return array if kept else array.astype(np.int64, copy=False)


def loaded(
    name: str,
    kind: StreamKind,
    data: Iterable[bytes],
    rngs: Iterable[np.random.Generator | None],
) -> NDArray[Any]:
    """Return the arrays of some items as one, [N, ...].

    Args:
        name: of the stream, for errors.
        kind: its settings.
        data: what was stored of each item.
        rngs: for augmentation, one an item.

    Raises:
        InputError: a member cannot be loaded, or the arrays differ in shape or type.
    """
    import numpy as np

    arrays: list[NDArray[Any]] = []
    for member, rng in zip(data, rngs, strict=True):
        try:
            array = np.asarray(kind.load(member, rng))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"stream {name}: {kind.kind} cannot load a member of {len(member):,} bytes "
                f"({error}); mend it, and run `dvc repro`"
            ) from None
        if array.dtype.kind not in "biuf" or not array.size:
            found = array.dtype if array.size else "no numbers"
            raise InputError(
                f"stream {name}: {kind.kind} loads an array of {found}; its `load` must give "
                "numbers"
            )
        array = _as_models_take_it(array)
        first = arrays[0] if arrays else array
        if (array.shape, array.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"stream {name}: {kind.kind} loads {first.dtype} {list(first.shape)} of one item "
                f"and {array.dtype} {list(array.shape)} of another; its `load` must give one shape"
            )
        arrays.append(array)
    return np.stack(arrays)
