"""Whether a dataset's model can be built, known before hours of packing rather than after."""

from __future__ import annotations

from collections.abc import Mapping

from mmts.kinds.model import ModelKind, Parts, two_towers
from mmts.kinds.stream import StreamKind, encoders
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.model import Model
from mmts.towers.tokens import vocabulary_size
from mmts.weights import sentence_model

CAPTIONS = ("a red ball", "two blue boxes")  # for a tokenizer that is learned from the real ones


def bring_frozen(towers: Towers) -> None:
    """Load the frozen towers once, so that the weights of hub ids are here.

    Raises:
        InputError: what loading them in `embed` would raise.
    """
    if towers.vision.frozen:
        towers.vision.build()
    if towers.text.frozen and not towers.text.tokens:
        sentence_model(towers.text.weights)
    elif towers.text.frozen:
        towers.text.build(vocabulary_size(towers.text.make_tokenizer(lambda: CAPTIONS)))


def try_model(
    towers: Towers, head: Head | None, streams: Mapping[str, StreamKind] | None = None,
    kind: ModelKind | None = None, always: bool = False, matching: bool = False,
) -> Model | None:  # fmt: skip
    """Build the model once, with its weights and tokenizer, and return it.

    Where building it cannot fail it is only built `always`.

    Args:
        towers, head: settings.
        streams: those beside the pictures or clips, by name.
        kind: settings of the model; None for two towers.
        matching: whether its `match` is wanted.

    Raises:
        InputError: what building it in `train` would raise: weights or a tokenizer that are not
            there or do not fit, features of two lengths without a head, wrong frozen_parts.
    """
    model = kind or two_towers()
    found = encoders(streams or {}).values() if model.headed else ()
    if not (towers.given or model.given or always):
        return None
    vocabulary = 0
    if not towers.text.frozen:
        vocabulary = vocabulary_size(towers.text.make_tokenizer(lambda: CAPTIONS))
    dims = {"vocabulary": vocabulary}
    beside = sum(int(encoder.dim) for encoder in found)  # type: ignore[misc, arg-type]
    if towers.vision.frozen and towers.text.frozen:  # how long cached features are is not known yet
        dims |= {"vision": 1, "text": 1 + beside}
    elif towers.vision.frozen or towers.text.frozen:
        trained = towers.text.build(vocabulary) if towers.vision.frozen else None
        dim = (trained or towers.vision.build()).dim
        dims |= {"vision": dim - beside, "text": dim + beside}
    return model.build(Parts(towers, head, dims, streams or {}, matching))
