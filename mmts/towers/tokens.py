"""A byte-pair tokenizer learned from the training captions, for text towers without weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from mmts.errors import InputError
from mmts.towers.small import MAX_TOKENS, PAD

VOCABULARY = 8192
SPECIAL = ["[PAD]", "[UNK]"]  # [PAD] is id 0


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Byte-level BPE of at most 8,192 pieces; the same texts give the same pieces."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[1]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that was saved beside a model."""
    if not path.exists():
        raise InputError(f"{path} is not there; run `dvc repro` from the train stage on")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise InputError(
            f"{path} is damaged ({error}); run `dvc repro` from the train stage on"
        ) from None


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids [N, L], L <= 48, padded with 0."""
    ids = [e.ids[:MAX_TOKENS] for e in tokenizer.encode_batch(list(texts))]
    longest = max((len(row) for row in ids), default=1)
    out = torch.full((len(ids), max(longest, 1)), PAD, dtype=torch.long)
    for i, row in enumerate(ids):
        out[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return out
