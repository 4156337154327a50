"""Small made-up models of transformers in folders, as their hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from tests.making import COLOURS, SHAPES

PIXELS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.1, 0.4]}
WORDS = ("a", "one", *COLOURS, *SHAPES)


def _write(model: Any, folder: Path, processor: bool = True) -> Path:
    model.save_pretrained(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(PIXELS))
    return folder


def write_resnet(folder: Path, processor: bool = True, **changes: Any) -> Path:
    """A classifier of 24 features; its running statistics are not those of the start."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 24], "depths": [1, 2], "num_labels": 3}
    model = ResNetForImageClassification(ResNetConfig(**{**sizes, **changes}))
    model.train()(torch.randn(4, 3, 32, 32))
    return _write(model, folder, processor)


def write_vit(folder: Path, **changes: Any) -> Path:
    """A classifier for 32 px with 8 px patches, 16 features."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    return _write(ViTForImageClassification(ViTConfig(**{**sizes, **changes})), folder)


def write_distilbert(folder: Path, pad: int = 0, **changes: Any) -> Path:
    """A masked language model of 16 features, texts of 12 tokens, with its tokenizer."""
    torch.manual_seed(0)
    write_bert_tokenizer(folder, pad)
    sizes = {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "vocab_size": 30}
    sizes |= {"max_position_embeddings": 12, "pad_token_id": pad}
    return _write(DistilBertForMaskedLM(DistilBertConfig(**{**sizes, **changes})), folder, False)


def write_bert_tokenizer(folder: Path, pad: int = 0, cls: bool = True) -> Path:
    """A word tokenizer with BERT's special tokens; `pad`: 0 or 1."""
    names = ["[PAD]", "[UNK]"] if pad == 0 else ["[UNK]", "[PAD]"]
    names += ["[CLS]", "[SEP]", *WORDS]
    ids = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    if cls:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    tokenizer.enable_padding(length=64, pad_id=pad)  # what files of the hub may say too
    tokenizer.enable_truncation(5)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_clip_text(folder: Path, **changes: Any) -> Path:
    """CLIP's text side alone: 9 tokens, 30 ids, 8 features; end of text is 29."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "projection_dim": 8, "vocab_size": 30}
    sizes |= {"max_position_embeddings": 9, "bos_token_id": 28, "eos_token_id": 29}
    model = CLIPTextModelWithProjection(CLIPTextConfig(**{**sizes, **changes}))
    return _write(model, folder, False)
