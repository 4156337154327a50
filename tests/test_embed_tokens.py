from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmts.embed_tokens import embed_tokens
from mmts.settings import TextTower
from mmts.towers.build import text_tower
from mmts.towers.distilbert import DistilBert
from mmts.towers.texts import text_tokenizer
from mmts.towers.tokens import encode, vocabulary_size
from tests.making_transformers import write_distilbert

TEXTS = ["a red ball", "one", "", "a red ball", "a white cone a white cone", "a"]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each forward pass had."""
    rows: list[int] = []
    forward = DistilBert.forward

    def spy(self: DistilBert, ids: torch.Tensor) -> torch.Tensor:
        rows.append(len(ids))
        return forward(self, ids)

    monkeypatch.setattr(DistilBert, "forward", spy)
    return rows


def test_each_distinct_caption_once(tmp_path: Path, seen: list[int]) -> None:
    folder, cache = write_distilbert(tmp_path / "model"), tmp_path / "cache"
    tree = {"name": "distilbert", "weights": str(folder), "frozen": True, "pooling": "cls"}

    def run(texts: list[str], **changes: Any) -> Any:
        seen.clear()
        settings = TextTower.model_validate({**tree, **changes})
        tokenizer = text_tokenizer(settings, list)
        tower = text_tower(settings, vocabulary_size(tokenizer))
        return embed_tokens(texts, tower, tokenizer, settings, 2, cache), tower.eval(), tokenizer

    found, tower, tokenizer = run(TEXTS)
    assert found.computed == 5 and seen == [1, 1, 1, 2, 1]  # the probe first
    with torch.inference_mode():
        wanted = torch.cat([tower(encode(tokenizer, [text])) for text in TEXTS])
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-5)
    assert found.vectors.dtype == np.float32
    again, *_ = run(["new", *TEXTS])
    assert again.computed == 1 and again.fingerprint == found.fingerprint
    np.testing.assert_array_equal(again.vectors[1:], found.vectors)
    for changes in ({"pooling": "mean"}, {"max_tokens": 4}):
        other, *_ = run(TEXTS, **changes)
        assert other.computed == 5 and other.fingerprint != found.fingerprint
        assert abs(other.vectors - found.vectors).max() > 1e-3
