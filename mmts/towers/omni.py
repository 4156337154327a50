"""The omni-modal model of VAST (Chen et al. 2023, arXiv 2305.18500) for retrieval.

Frames, sound and subtitle of a clip are encoded apart. Their pooled features, side by side, go
through one linear map into the space of the captions. All their tokens together are the context
that matching looks at. One BERT reads captions and subtitles, and matches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.kinds.model import VISION
from mmts.kinds.stream import FRAMES
from mmts.towers.bert import Bert
from mmts.towers.converted import ConvertedPart, read_part
from mmts.towers.model import Encoded, Model, Streams
from mmts.towers.tower import shapes_of
from mmts.towers.two_tower import unit
from mmts.towers.vast_names import HEADS

AUDIO, SUBTITLE = "audio", "subtitle"
ORDER = (VISION, AUDIO, SUBTITLE)
"""In which the streams are concatenated."""


class Omni(Model):
    """Frames, sound and subtitles of clips in one space with captions; any subset of the three.

    Attributes:
        dim: D of the rows.
        streams: names of those that it reads, in ORDER.
        matching: what `match` needs beside the encoders; None for a model that only contrasts.
    """

    def __init__(
        self, streams: Collection[str], encoders: Mapping[str, Any], text: Bert, dim: int,
        counts: Mapping[str, int] | None,
    ) -> None:  # fmt: skip
        """
        Args:
            streams: those that it reads, of ORDER.
            encoders: towers of vision and audio, those that are read.
            text: reads captions and subtitles, and where there are `counts` attends to a context.
            dim: of the rows.
            counts: frames of a clip and slices of its sound in training, by stream, for matching;
                None for none.
        """
        super().__init__()
        self.dim, self.text = dim, text
        self.streams = tuple(name for name in ORDER if name in streams)
        for name, encoder in encoders.items():
            self.add_module(name, encoder)
        widths = {n: text.dim if n == SUBTITLE else int(encoders[n].dim) for n in self.streams}
        self.text_head = nn.Linear(text.dim, dim, bias=False)
        alone = len(widths) == 1
        self.media_head = nn.Linear(sum(widths.values()), dim, bias=not alone)
        self.matching = None if counts is None else Matching(widths, text.dim, counts)
        self.matches = self.matching is not None

    @property
    def shapes(self) -> dict[str, dict[str, Any]]:
        """Of each encoder, what it takes to build it again."""
        own = ("text", *(name for name in self.streams if name != SUBTITLE))
        return shapes_of({name: self.get_submodule(name) for name in own})

    def encode_vision(self, streams: Streams) -> Encoded:
        """Return the rows, and the context if the model can match."""
        tokens = self._tokens(streams, self.streams)
        rows = unit(self.media_head(torch.cat(_pooled(tokens), dim=1)))
        return Encoded(rows, None if self.matching is None else self.matching.context(tokens))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return the unit rows of captions, token ids [N, L]."""
        return unit(self.text_head(self.text(tokens)))

    def features(self, streams: Streams) -> Tensor:
        """Return pooled features before the head, [N, F]: of the frames, where it reads them."""
        name = VISION if VISION in self.streams else self.streams[0]
        return _pooled(self._tokens(streams, (name,)))[0]

    def match(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Return logits of whether texts describe clips, see `Model.match`."""
        if self.matching is None:
            return super().match(context, tokens)
        logits: Tensor = self.matching.head(self.text.hidden(tokens, context)[..., 0, :])
        return logits

    def _tokens(self, streams: Streams, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Tokens of streams: vision [N, T, L, W], audio [N, A, L, W], subtitle [N, L, W]."""
        found = {}
        for name in names:
            stream = streams[FRAMES if name == VISION else name]
            encode = self.text.hidden if name == SUBTITLE else getattr(self, name).tokens
            found[name] = encode(stream)
        return found


def _pooled(tokens: Mapping[str, Tensor]) -> list[Tensor]:
    """A row [N, W] a stream: class tokens of frames, all tokens of sound, [CLS] of subtitles."""
    pool = {
        VISION: lambda of: of[:, :, 0].mean(dim=1),
        AUDIO: lambda of: of.mean(dim=(1, 2)),
        SUBTITLE: lambda of: of[:, 0],
    }
    return [pool[name](of) for name, of in tokens.items()]


class Matching(nn.Module):
    """What matching has beside the encoders: the context from their tokens, and a head."""

    def __init__(self, widths: Mapping[str, int], width: int, counts: Mapping[str, int]) -> None:
        """
        Args:
            widths: of the tokens of each stream.
            width: of the text tower.
            counts: frames of a clip, and slices of its sound, in training.
        """
        super().__init__()
        self.projections = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(own, width), nn.LayerNorm(width, eps=1e-12))
                for name, own in widths.items()
            }
        )
        self.types = nn.ParameterDict({n: 0.02 * torch.randn(1, 1, width) for n in widths})
        self.places = nn.ParameterDict(
            {n: 0.02 * torch.randn(1, counts[n], width) for n in widths if n in counts}
        )
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=1e-12), nn.Linear(width, 2)
        )

    def context(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return the tokens of all streams as one sequence, [N, L, width], in half under autocast.

        With another number of frames than in training, their embeddings are stretched.
        """
        found = []
        for name, of in tokens.items():
            x = self.projections[name](of)
            if name in self.places:
                x = (x + stretched(self.places[name], x.shape[1]).unsqueeze(2)).flatten(1, 2)
            found.append(x + self.types[name])
        context = torch.cat(found, dim=1)
        kind = context.device.type
        if torch.is_autocast_enabled(kind):
            return context.to(torch.get_autocast_dtype(kind))
        return context


def stretched(places: Tensor, count: int) -> Tensor:
    """Return embeddings [1, n, width] of `count` places, each that of the nearest."""
    if places.shape[1] == count:
        return places
    return F.interpolate(places.transpose(1, 2), count, mode="nearest").transpose(1, 2)


def letters(streams: tuple[str, ...]) -> str:
    """Return how VAST names the head over some streams: v, va, vas."""
    return "".join(name[0] for name in streams)


def load_heads(model: Omni, spec: str) -> ConvertedPart:
    """Put the heads and the matching of a converted checkpoint into a model; return that part.

    Its head over these streams stays random where VAST has none, as over sound and subtitle alone.

    Raises:
        InputError: there is no such checkpoint, or it is of another size.
    """
    found = read_part(spec, "omni", ("vast",))
    head = f"media_head.{letters(model.streams)}."
    state = {
        name.replace(head, "media_head."): value.float()
        for name, value in found.state.items()
        if not name.startswith("media_head.") or name.startswith(head)
    }
    own = model.state_dict()
    for name in model.streams:
        key = f"matching.places.{name}"
        if key in own and key in state:
            state[key] = stretched(state[key], own[key].shape[1])
    towers = tuple(f"{name}." for name in (*ORDER, "text"))
    if letters(model.streams) not in HEADS:  # random, then
        towers += ("media_head.",)
    missing = [name for name in own if name not in state and not name.startswith(towers)]
    if missing:
        raise InputError(f"{spec} lacks {missing[0]}; convert the checkpoint of VAST again")
    wanted = {name: value for name, value in state.items() if name in own}
    for name, value in wanted.items():
        if value.shape != own[name].shape:
            raise InputError(
                f"{spec}: {name} is {list(value.shape)}, but the model has "
                f"{list(own[name].shape)}; set the sizes of the model (model.dim) to those"
            )
    model.load_state_dict(wanted, strict=False)
    return found
