from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmts.embed_tokens import embed_tokens
from mmts.kinds.text import TEXT_TOWERS
from mmts.towers.distilbert import DistilBert
from mmts.towers.tokens import encode, vocabulary_size
from tests.making_towers import text_tokenizer, text_tower
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


def test_each_distinct_caption_once(
    tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = write_distilbert(tmp_path / "model"), tmp_path / "cache"
    tree = {"name": "distilbert", "weights": str(folder), "frozen": True, "pooling": "cls"}

    def run(texts: list[str], **changes: Any) -> Any:
        seen.clear()
        settings = TEXT_TOWERS.validated({**tree, **changes})
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
    monkeypatch.setattr("mmts.embed_tokens.UNPADDED", "padded")
    other, *_ = run(TEXTS)
    assert other.computed == 5 and other.fingerprint != found.fingerprint


def test_a_few_captions_are_tokenised_at_once(
    tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_distilbert(tmp_path)
    settings = TEXT_TOWERS.validated(
        {"name": "distilbert", "weights": str(folder), "frozen": True, "pooling": "mean"}
    )
    tokenizer = text_tokenizer(settings, list)
    tower = text_tower(settings, vocabulary_size(tokenizer))
    texts = [*TEXTS, *(f"{n} cones" + n % 5 * " a" for n in range(30))]
    at_once: list[int] = []

    class Counted:
        """The tokenizer; notes how many texts it gets."""

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def encode_batch(self, batch: list[str]) -> Any:
            at_once.append(len(batch))
            return tokenizer.encode_batch(batch)

    def run(cache: Path) -> tuple[Any, list[int]]:
        seen.clear()
        found = embed_tokens(texts, tower, Counted(), settings, 2, cache)  # type: ignore[arg-type]
        return found.vectors, seen.copy()

    whole, rows = run(tmp_path / "whole")
    assert at_once == [len(set(texts))]
    at_once.clear()
    monkeypatch.setattr("mmts.vector_cache.TEXTS_AT_ONCE", 4)
    portions, again = run(tmp_path / "portions")
    assert max(at_once) == 4 and sum(at_once) == len(set(texts)) and again == rows
    np.testing.assert_array_equal(portions, whole)
