"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108), as transformers has it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.files import read_json
from mmts.towers.pretrained import (
    DISTILBERT,
    check_type,
    config_of,
    empty_model,
    load_model,
    random_model,
    recompute,
)
from mmts.towers.tokens import PAD
from mmts.towers.tower import Tower
from mmts.weights import model_files

Pooling = Literal["cls", "mean"]
CONTEXT = 512
"""Tokens that it takes where its configuration says nothing."""


def given_sizes(spec: str) -> tuple[int, int]:
    """Return the id of padding and the context of a model in a local folder or of a hub id.

    Raises:
        InputError: there is no such model.
    """
    folder = model_files(spec, ("config.json",), DISTILBERT.remedy)
    check_type(DISTILBERT, spec, folder)
    facts = read_json(folder / "config.json", DISTILBERT.remedy, ours=False)
    return facts.get("pad_token_id", PAD), facts.get("max_position_embeddings", CONTEXT)


class DistilBert(Tower):
    """Token ids [N, L] -> [N, width]: the last hidden state of the first token, or the mean.

    The first token is [CLS] with its own tokenizer, which iSogCLR (arXiv 2305.11965) projects. The
    mean is over what is not padding.
    """

    def __init__(
        self, model: Any, pooling: Pooling, *, gradient_checkpointing: bool = False
    ) -> None:
        """
        Args:
            model: a DistilBertModel.
            pooling: `cls` or `mean`.
        """
        super().__init__()
        self.model, self.pooling = model, pooling
        self.dim: int = model.config.dim
        self.context: int = model.config.max_position_embeddings
        self.pad: int = model.config.pad_token_id
        if gradient_checkpointing:
            recompute(model)

    @classmethod
    def load(cls, spec: str, pooling: Pooling, **settings: Any) -> DistilBert:
        """From a local folder or a hub id such as distilbert-base-uncased; errors: `load_model`."""
        found = load_model(DISTILBERT, spec)
        tower = cls(found.model, pooling, **settings)
        found.mark(tower)
        return tower

    @classmethod
    def random(
        cls, vocabulary: int, shape: dict[str, int] | None, pooling: Pooling, **settings: Any
    ) -> DistilBert:
        """With random weights.

        Args:
            vocabulary: number of ids.
            shape: context, width, layers and heads; None for those of DistilBERT.
            pooling, settings: as in `__init__`.
        """
        sizes = {}
        if shape is not None:
            sizes = {
                "max_position_embeddings": shape["context"],
                "dim": shape["width"],
                "hidden_dim": 4 * shape["width"],
                "n_layers": shape["layers"],
                "n_heads": shape["heads"],
            }
        model = random_model(DISTILBERT, vocab_size=vocabulary, **sizes)
        return cls(model, pooling, **settings)

    @classmethod
    def empty(cls, shape: dict[str, Any], pooling: Pooling, **settings: Any) -> DistilBert:
        """A tower with random weights from what `shape` gives of another one."""
        return cls(empty_model(DISTILBERT, shape["config"]), pooling, **settings)

    @property
    def shape(self) -> dict[str, Any]:
        """All that `empty` needs beside the settings, as JSON."""
        return {"config": config_of(self.model)}

    def forward(self, ids: Tensor) -> Tensor:
        """Pooled features.

        Raises:
            InputError: the texts are longer than the tower's context.
        """
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.context:
            raise InputError(
                f"distilbert: the token ids are {list(ids.shape)}; they must be [N, L] with L from "
                f"1 to {self.context}: truncate the texts"
            )
        # an empty text keeps its first place, so that there is something to attend to
        first = torch.ones_like(ids[:, :1], dtype=torch.bool)
        real = torch.cat([first, ids[:, 1:] != self.pad], dim=1)
        # four dimensions are taken as they are: no look at the values, which would stall a GPU
        mask = real[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        hidden: Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0]
        weight = real.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(dim=1) / weight.sum(dim=1)
