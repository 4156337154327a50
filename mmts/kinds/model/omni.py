"""The omni-modal model of VAST: frames, sound and subtitles, with matching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mmts.errors import InputError
from mmts.kinds.model import VISION, ModelKind, Parts
from mmts.settings.base import Settings, Share, Text, Width
from mmts.settings.shapes import BEATS_PATCH as PATCH
from mmts.settings.shapes import Beats, BeatsShape

if TYPE_CHECKING:
    from mmts.kinds.stream import StreamKind
    from mmts.settings.towers import Towers
    from mmts.towers import beats
    from mmts.towers.model import Model
    from mmts.towers.tower import Shape, Tower

StreamOfOmni = Literal["vision", "audio", "subtitle"]
KINDS = {"audio": "audio", "subtitle": "text"}
"""What kind of stream each is, beside the frames."""


class Audio(Settings):
    """The encoder of sound, BEATs (`mmts.towers.beats`)."""

    weights: Text | None = None
    """`random`, or a folder that mmts.towers.convert wrote of BEATs' or VAST's file; null for those
    of the model."""
    shape: Beats = None
    """With random weights: `tiny`, or a mapping of sizes; null for that of BEATs-base."""
    layer_drop: Share = 0.05
    """Chance that a training step leaves out a layer."""
    gradient_decay: Annotated[float, Field(gt=0, le=1)] = 0.6
    """What each layer multiplies the gradient by that goes on to those below."""

    def build(self, weights: str, shape: Shape | None) -> beats.Beats:
        """Return the tower; `weights` are those of the model, `shape` that of a trained one."""
        from mmts.towers import beats

        more = {"layer_drop": self.layer_drop, "gradient_decay": self.gradient_decay}
        weights = self.weights or weights
        if shape is not None:
            return beats.Beats(BeatsShape.model_validate(shape), **more)
        if weights == "random":
            return beats.Beats(self.shape or BeatsShape(), **more)
        return beats.Beats.converted(weights, **more)


class Kind(ModelKind):
    """`mmts.towers.omni`: a clip's frames, sound and subtitle in one space with captions."""

    kind: Literal["omni"]
    matches = True
    headed = False
    streams: Annotated[tuple[StreamOfOmni, ...], Field(strict=False, min_length=1)] = (
        "vision", "audio", "subtitle",
    )  # fmt: skip
    """Which it reads: the frames, and those of `datasets.NAME.streams` that have these names."""
    weights: Text
    """Of the heads and of matching: `random`, or a folder that mmts.towers.convert wrote of VAST's
    file."""
    dim: Width = 512
    """Dimensions of the shared space."""
    audio: Audio = Audio()

    @property
    def models(self) -> tuple[str, ...]:
        """The folders of weights."""
        named = (self.weights, self.audio.weights or "random")
        return tuple(dict.fromkeys(name for name in named if name != "random"))

    @property
    def given(self) -> bool:
        """Whether it has parts that may not fit: yes."""
        return True

    def reads(self, stream: str) -> bool:
        """Return whether it reads a stream."""
        return stream in self.streams

    def check(self, towers: Towers, streams: Mapping[str, StreamKind]) -> None:
        """Raise ValueError if a stream or an encoder is missing."""
        if len(set(self.streams)) < len(self.streams):
            raise ValueError(f"model.streams {list(self.streams)} names one twice; name each once")
        for name in self.streams:
            found = getattr(streams.get(name), "kind", None)
            if name != VISION and found != KINDS[name]:
                what = "no such stream" if found is None else f"one of kind {found}"
                raise ValueError(
                    f"model.streams names {name}, but the dataset has {what}; add `{name}: {{kind: "
                    f"{KINDS[name]}, …}}` to its streams, or leave it out of model.streams"
                )
        if VISION in self.streams and not towers.vision.per_token:
            raise ValueError(
                f"model is omni but towers.vision.name is {towers.vision.name}, which gives no "
                "features of each patch; set it to eva_clip"
            )
        given = self.audio.weights or self.weights
        if self.audio.shape is not None and given != "random":
            raise ValueError(
                f"model.audio.shape is set but its weights are {given}; it belongs to `weights: "
                "random`: leave it out"
            )
        bins = getattr(streams.get("audio"), "mel_bins", 0)
        if "audio" in self.streams and bins % PATCH:
            raise ValueError(
                f"streams.audio.mel_bins is {bins}; the model cuts the filterbank into patches of "
                f"{PATCH}: set it to 64 or 128, or another multiple"
            )
        if not towers.text.crosses or towers.text.frozen:
            raise ValueError(
                "model is omni but towers.text is frozen, or cannot attend to media items; set it "
                "to `name: bert` with `frozen: false`"
            )

    def build(self, parts: Parts) -> Model:
        """Return the model."""
        from mmts.towers.freezing import freeze_parts
        from mmts.towers.omni import AUDIO, SUBTITLE, Omni, load_heads
        from mmts.towers.tower import loaded

        towers, shapes = parts.towers, parts.shapes

        def shape(name: str) -> Shape | None:
            return None if shapes is None else shapes[name]

        encoders: dict[str, Tower] = {}
        weights = {"text": towers.text.weights}
        if self.reads(VISION):
            encoders[VISION] = towers.vision.build(shape(VISION))
            weights[VISION] = towers.vision.weights
        if self.reads(AUDIO):
            encoders[AUDIO] = self.audio.build(self.weights, shape(AUDIO))
            weights[AUDIO] = self.audio.weights or self.weights
        text = towers.text.build(parts.dims["vocabulary"], shape("text"), parts.matching)
        most = getattr(parts.streams.get(SUBTITLE), "max_tokens", 0)
        if self.reads(SUBTITLE) and most > text.longest:
            raise InputError(
                f"streams.subtitle.max_tokens is {most}, but towers.text takes {text.longest} "
                "tokens; lower it"
            )
        counts = {VISION: towers.vision.frames}
        if self.reads(AUDIO):
            counts[AUDIO] = parts.streams[AUDIO].slices  # type: ignore[attr-defined]
        model = Omni(self.streams, encoders, text, self.dim, counts if parts.matching else None)
        found = {"text": text, **encoders}
        model.loaded = loaded({name: (of, weights[name]) for name, of in found.items()})
        if shapes is None and self.weights != "random":
            heads = load_heads(model, self.weights)
            if self.reads(AUDIO) and self.audio.weights in (None, self.weights):
                self._check_mel_bins(parts.streams[AUDIO], heads.facts)
            mark = {"weights": self.weights, "fingerprint": heads.fingerprint}
            model.loaded = {**model.loaded, "omni": mark}
        freeze_parts(model, towers.frozen_parts)
        return model

    def _check_mel_bins(self, audio: StreamKind, facts: Mapping[str, Any]) -> None:
        """Raise InputError if the sound has another filterbank than the weights were trained on."""
        given, known = audio.mel_bins, facts.get("mel_bins")  # type: ignore[attr-defined]
        if known is not None and known != given:
            raise InputError(
                f"streams.audio.mel_bins is {given}, but {self.weights} was trained with {known}; "
                "set it to that"
            )
