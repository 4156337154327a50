"""BERT (Devlin et al. 2019, arXiv 1810.04805), which can also attend to a context, as in VAST.

The parameters are those of transformers' BertModel. Its forward pass is written here, because a
decoder of transformers masks later tokens, and because several texts can then share the keys and
values of one context.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmts.errors import InputError
from mmts.settings.shapes import BertShape
from mmts.towers.converted import FACTS, read_part
from mmts.towers.pretrained import (
    BERT,
    config_of,
    empty_model,
    load_model,
    random_model,
    spread,
)
from mmts.towers.tower import Shape, Tower

FAMILIES = ("vast",)
"""Of converted checkpoints that hold a BERT."""
CROSS = "crossattention"


class Bert(Tower):
    """Token ids [N, L] -> [N, width]: the last hidden state of [CLS], to which padding is unseen.

    Attributes:
        crosses: whether it can attend to a context.
        longest: most tokens of a text.
    """

    def __init__(self, model: Any, *, gradient_checkpointing: bool = False) -> None:
        """
        Args:
            model: a BertModel without a pooler.
            gradient_checkpointing: keep only the inputs of each layer.
        """
        super().__init__()
        self.model, self.recompute = model, gradient_checkpointing
        self.dim: int = model.config.hidden_size
        self.longest: int = model.config.max_position_embeddings
        self.pad: int = model.config.pad_token_id
        self.crosses: bool = model.config.add_cross_attention

    @classmethod
    def random(cls, vocabulary: int, shape: BertShape, cross: bool, **settings: Any) -> Bert:
        """Return a tower with random weights.

        Args:
            vocabulary: number of ids.
            shape: its sizes.
            cross: whether it is to attend to a context.
            settings: as in `__init__`.
        """
        model = random_model(
            BERT,
            vocab_size=vocabulary,
            max_position_embeddings=shape.context,
            hidden_size=shape.width,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            initializer_range=spread(shape.width),
            hidden_dropout_prob=shape.dropout,
            attention_probs_dropout_prob=shape.dropout,
            **_crossing(cross),
        )
        return cls(model, **settings)

    @classmethod
    def load(cls, spec: str, cross: bool, **settings: Any) -> Bert:
        """Return a tower from a model of transformers or a converted checkpoint of VAST.

        Where it is to attend to a context and the weights have none for that, those are random.

        Args:
            spec: a folder or hub id.
            cross, settings: as in `random`.

        Raises:
            InputError: there are no such weights, or they are of another model.
        """
        tower: Bert
        if is_converted(spec):
            found = read_part(spec, "text", FAMILIES)
            state = {name.removeprefix("model."): value for name, value in found.state.items()}
            config, mark = found.facts["config"], found.mark
        else:
            loaded = load_model(BERT, spec)
            state, config, mark = loaded.model.state_dict(), config_of(loaded.model), loaded.mark
        tower = cls(empty_model(BERT, {**config, **_crossing(cross)}), **settings)
        wanted = {name: value for name, value in state.items() if cross or CROSS not in name}
        lacking, odd = _fitted(tower.model, wanted, spec)
        missing = [name for name in lacking if CROSS not in name]
        if missing or odd:
            name = (missing or odd)[0]
            raise InputError(f"{spec} holds no BERT that fits ({name}); name another in weights")
        mark(tower)
        return tower

    @classmethod
    def empty(cls, shape: Shape, **settings: Any) -> Bert:
        """Return a tower with random weights from what `shape` gives of another one."""
        return cls(empty_model(BERT, shape["config"]), **settings)

    @property
    def shape(self) -> Shape:
        """All that `empty` needs beside the settings, as JSON."""
        return {"config": config_of(self.model)}

    def hidden(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the last hidden states, [N, L, width] or [N, M, L, width].

        Args:
            ids: [N, L], or [N, M, L]: M texts a context, which share its keys and values.
            context: [N, C, width], what every layer attends to beside the text; None for nothing.

        Raises:
            InputError: the texts are longer than the model takes.
        """
        if not 1 <= ids.shape[-1] <= self.longest:
            raise InputError(
                f"bert: the texts have {ids.shape[-1]} tokens; it takes 1 to {self.longest}: "
                "truncate them"
            )
        flat = ids.flatten(0, -2)
        first = torch.ones_like(flat[:, :1], dtype=torch.bool)  # something to attend to
        real = torch.cat([first, flat[:, 1:] != self.pad], dim=1)[:, None, None, :]
        x = self.model.embeddings(input_ids=flat)
        again = self.recompute and self.training and torch.is_grad_enabled()
        for layer in self.model.encoder.layer:
            x = (
                checkpoint(_layer, layer, x, real, context, use_reentrant=False)
                if again
                else _layer(layer, x, real, context)
            )
        found: Tensor = x.reshape(*ids.shape, self.dim)
        return found

    def forward(self, ids: Tensor) -> Tensor:
        """Return the hidden state of [CLS]."""
        return self.hidden(ids)[:, 0]


def _crossing(cross: bool) -> dict[str, bool]:
    return {"is_decoder": cross, "add_cross_attention": cross}  # transformers wants both


def _layer(layer: Any, x: Tensor, real: Tensor, context: Tensor | None) -> Tensor:
    """One layer: the text attends to itself both ways, then to the context."""
    x = _attention(layer.attention, x, x, real)
    if context is not None:
        texts = x.reshape(len(context), -1, x.shape[-1])  # those of one context side by side
        x = _attention(layer.crossattention, texts, context, None).reshape(x.shape)
    found: Tensor = layer.feed_forward_chunk(x)
    return found


def _attention(block: Any, x: Tensor, to: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of a BertAttention, with what follows it; `mask` is True where a token is seen."""
    own = block.self
    query, key, value = (
        part.unflatten(-1, (own.num_attention_heads, -1)).transpose(1, 2)
        for part in (own.query(x), own.key(to), own.value(to))
    )
    dropout = own.dropout.p if own.training else 0.0
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    found: Tensor = block.output(seen.transpose(1, 2).flatten(2), x)
    return found


def _fitted(model: Any, state: dict[str, Tensor], spec: str) -> tuple[list[str], list[str]]:
    try:
        found = model.load_state_dict({n: v.float() for n, v in state.items()}, strict=False)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(f"{spec} holds a BERT of other sizes ({told}); get it again") from None
    return list(found.missing_keys), list(found.unexpected_keys)


def is_converted(spec: str) -> bool:
    """Return whether a folder is one that `mmts.towers.convert` wrote."""
    return (Path(spec) / FACTS).is_file()
