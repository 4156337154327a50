from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mmts.embed import (
    PROBE_TEXT,
    embed_pictures,
    embed_texts,
    load_sentence_model,
)
from mmts.embeddings import distinct, read_embeddings
from mmts.errors import InputError
from mmts.kinds.vision import VISION_TOWERS
from mmts.media import MediaFacts, decode_image, square
from mmts.towers.tower import Tower
from mmts.vector_cache import VectorCache
from tests.making import picture, write_picture, write_sentence_model

TEXTS = ["a red ball", "the blue box of one", "a", "NA", "", "a red ball", "white cone 7", "שלום"]

SMALL = {"name": "small_cnn", "weights": "x", "frozen": True, "image_size": 16}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All sentences that a SentenceTransformer is asked to encode."""
    from sentence_transformers import SentenceTransformer

    seen: list[str] = []
    plain = SentenceTransformer.encode

    def spy(self: Any, sentences: list[str], *rest: Any, **more: Any) -> Any:
        seen.extend(s for s in sentences if s != PROBE_TEXT)
        return plain(self, sentences, *rest, **more)

    monkeypatch.setattr(SentenceTransformer, "encode", spy)
    return seen


def test_vectors_are_those_of_sentence_transformers(
    tmp_path: Path, sentence_folder: Path, encoded: list[str]
) -> None:
    from sentence_transformers import SentenceTransformer

    found = embed_texts(TEXTS, str(sentence_folder), 3, tmp_path)
    assert sorted(encoded) == sorted(set(TEXTS)) and found.computed == len(set(TEXTS))
    plain = SentenceTransformer(str(sentence_folder), device="cpu")
    wanted = plain.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert found.vectors.dtype == np.float32 and len(found.fingerprint) == 64


def test_new_texts_alone_are_embedded(
    tmp_path: Path, sentence_folder: Path, encoded: list[str]
) -> None:
    first = embed_texts(TEXTS, str(sentence_folder), 4, tmp_path)
    encoded.clear()
    again = embed_texts(TEXTS, str(sentence_folder), 4, tmp_path)
    assert encoded == [] and again.computed == 0
    np.testing.assert_array_equal(again.vectors, first.vectors)
    more = embed_texts(["new", *TEXTS, "newer", "new"], str(sentence_folder), 4, tmp_path)
    assert sorted(encoded) == ["new", "newer"] and more.computed == 2
    np.testing.assert_array_equal(more.vectors[1:-2], first.vectors)


def test_an_interrupted_run_goes_on(
    tmp_path: Path, sentence_folder: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmts.vector_cache.TEXTS_A_TRANSACTION", 3)
    put, calls = VectorCache.put, []

    def stop(self: VectorCache, keys: Any, vectors: Any) -> None:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(len(keys))
        put(self, keys, vectors)

    monkeypatch.setattr(VectorCache, "put", stop)
    with pytest.raises(KeyboardInterrupt):
        embed_texts(TEXTS, str(sentence_folder), 3, tmp_path)
    assert calls == [3]
    monkeypatch.setattr(VectorCache, "put", put)
    before = set(encoded[:3])
    encoded.clear()
    found = embed_texts(TEXTS, str(sentence_folder), 3, tmp_path)
    assert found.computed == len(set(TEXTS)) - 3 and set(encoded) == set(TEXTS) - before
    whole = embed_texts(TEXTS, str(sentence_folder), 3, tmp_path / "other")
    np.testing.assert_allclose(found.vectors, whole.vectors, atol=1e-6)


def test_a_few_texts_are_tokenised_at_once(
    tmp_path: Path, sentence_folder: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*TEXTS, *(f"{n} cones" + n % 5 * " and" for n in range(30))]
    whole = embed_texts(texts, str(sentence_folder), 3, tmp_path / "whole")
    order = encoded.copy()
    encoded.clear()
    kind = type(load_sentence_model(str(sentence_folder)).tokenizer)
    tokenise, seen = kind.__call__, []

    def spy(self: Any, text: Any, *rest: Any, **more: Any) -> Any:
        seen.append(len(text))
        return tokenise(self, text, *rest, **more)

    monkeypatch.setattr(kind, "__call__", spy)
    monkeypatch.setattr("mmts.vector_cache.TEXTS_AT_ONCE", 4)
    found = embed_texts(texts, str(sentence_folder), 3, tmp_path / "portions")
    assert max(seen) == 4 and sum(seen) >= found.computed
    assert encoded == order
    np.testing.assert_array_equal(found.vectors, whole.vectors)


def test_vectors_that_were_padded_are_computed_again(
    tmp_path: Path, sentence_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = embed_texts(TEXTS, str(sentence_folder), 4, tmp_path)
    monkeypatch.setattr("mmts.embed.UNPADDED", "padded")
    other = embed_texts(TEXTS, str(sentence_folder), 4, tmp_path)
    assert other.computed == len(set(TEXTS)) and other.fingerprint != found.fingerprint


def test_equal_weights_with_another_pooling_are_another_model(
    tmp_path: Path, sentence_folder: Path
) -> None:
    other = write_sentence_model(tmp_path / "cls", pooling="cls")
    mean = embed_texts(TEXTS[:3], str(sentence_folder), 4, tmp_path / "cache")
    cls = embed_texts(TEXTS[:3], str(other), 4, tmp_path / "cache")
    assert cls.computed == 3 and cls.fingerprint != mean.fingerprint
    assert abs(cls.vectors - mean.vectors).max() > 0.01


@pytest.mark.parametrize("spec", ["nobody/such-a-model", "sentence-transformers/such-a-model"])
def test_a_hub_that_cannot_be_reached(tmp_path: Path, spec: str) -> None:
    with pytest.raises(InputError) as caught:
        embed_texts(["a"], spec.removeprefix("sentence-transformers/"), 4, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{spec} cannot be loaded (") and "\n" not in message
    assert message.endswith("give the model's local folder or `package:<import name>`")


def test_models_that_are_damaged(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path)
    weights = next(folder.rglob("*.safetensors"))
    for data in (weights.read_bytes()[:-100], b"garbage" * 50, b""):
        weights.write_bytes(data)
        with pytest.raises(InputError, match="cannot be loaded"):
            embed_texts(["a"], str(folder), 4, tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        embed_texts(["a"], str(folder), 4, tmp_path)


class Mean(Tower):
    """Mean of each colour; counts its pictures."""

    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.seen = 0

    def forward(self, pixels: Tensor) -> Tensor:
        assert pixels.dtype == torch.uint8 and pixels.shape[1:] == (3, 16, 16)
        self.seen += len(pixels)
        return pixels.float().mean(dim=(2, 3)) * self.scale


def table(paths: list[Path]) -> pd.DataFrame:
    """Rows of a captions table that have these pictures."""
    facts = [MediaFacts.of(path.read_bytes()) for path in paths]
    return pd.DataFrame(
        {
            "sample_id": [path.stem for path in paths],
            "media": [str(path) for path in paths],
            "media_bytes": [found.size for found in facts],
            "media_sha256": [found.sha256 for found in facts],
        }
    )


def test_pictures(tmp_path: Path) -> None:
    files = [write_picture(tmp_path / f"{n}.png", n % 11) for n in range(22)]
    paths = table(files)
    settings = VISION_TOWERS.validated(SMALL)
    tower = Mean()
    found = embed_pictures(paths, tower, settings, tmp_path / "cache")
    assert found.computed == 11 and tower.seen == 12  # and the probe
    wanted = [2 * square(decode_image(picture(n % 11)), 16).mean(axis=(0, 1)) for n in range(22)]
    np.testing.assert_allclose(found.vectors, wanted, rtol=1e-5)
    write_picture(tmp_path / "0.png", 99)
    paths, again = table(files), Mean()
    assert embed_pictures(paths, again, settings, tmp_path / "cache").computed == 1
    assert again.seen == 2
    with torch.no_grad():
        again.scale.fill_(3)
    changed = embed_pictures(paths, again, settings, tmp_path / "cache")
    assert changed.computed == 12 and changed.fingerprint != found.fingerprint


def test_pictures_that_are_read_otherwise_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = table([write_picture(tmp_path / f"{n}.png", n) for n in range(3)])
    settings = VISION_TOWERS.validated(SMALL)
    before = embed_pictures(paths, Mean(), settings, tmp_path / "cache")
    monkeypatch.setattr("mmts.embed.square", lambda image, size: 255 - square(image, size))
    after = embed_pictures(paths, Mean(), settings, tmp_path / "cache")
    assert after.computed == 3
    np.testing.assert_allclose(after.vectors, 510 - before.vectors, rtol=1e-5)


def test_distinct_keeps_the_order_of_first_appearance() -> None:
    texts, rows = distinct(pd.Series(["b", "NA", "a", "b", "None", "a"]))
    assert texts == ["b", "NA", "a", "None"] and rows.tolist() == [0, 1, 2, 0, 3, 2]
    assert rows.dtype == np.int64


def test_reading_what_the_stage_wrote(tmp_path: Path) -> None:
    text = np.eye(2, dtype=np.float32)
    np.save(tmp_path / "text.npy", text)
    np.save(tmp_path / "caption_text.npy", np.array([0, 1, 1]))
    found = read_embeddings(tmp_path)
    assert found.vision is None and found.text_features is None
    np.testing.assert_array_equal(found.text, text)
    assert found.caption_text.tolist() == [0, 1, 1]
    np.save(tmp_path / "vision.npy", 3 * text)
    np.save(tmp_path / "text_features.npy", 4 * text)
    found = read_embeddings(tmp_path)
    assert found.vision is not None and found.vision[0, 0] == 3
    assert found.text_features is not None and found.text_features[0, 0] == 4


@pytest.mark.parametrize("data", [b"", b"garbage", None])
def test_arrays_that_are_damaged(tmp_path: Path, data: bytes | None) -> None:
    np.save(tmp_path / "caption_text.npy", np.array([0]))
    np.save(tmp_path / "text.npy", np.zeros((40, 40), dtype=np.float32))
    path = tmp_path / "text.npy"
    path.write_bytes(path.read_bytes()[:500] if data is None else data)
    with pytest.raises(InputError, match=r"text\.npy is damaged .*; run `dvc repro -sf embed`"):
        read_embeddings(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"text\.npy is not there; run `dvc repro`"):
        read_embeddings(tmp_path)


@pytest.mark.parametrize("change", ["other bytes", "another size", "gone"])
def test_pictures_that_have_changed_are_refused(tmp_path: Path, change: str) -> None:
    files = [write_picture(tmp_path / f"{n}.png", n) for n in range(3)]
    rows = table(files)
    if change == "gone":
        files[1].unlink()
    elif change == "another size":
        write_picture(files[1], 1, size=(8, 8))
    else:
        data = bytearray(files[1].read_bytes())
        data[-20] ^= 1
        files[1].write_bytes(data)
    settings = VISION_TOWERS.validated(SMALL)
    problem = (
        "it was there in the captions" if change == "gone" else "has changed since the captions"
    )
    with pytest.raises(
        InputError, match=rf"1\.png \(1\).* {problem} stage.*dvc repro -sf captions"
    ):
        embed_pictures(rows, Mean(), settings, tmp_path / "cache")
