"""What a text tower gets, and towers that do not fit the shards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mmts.errors import InputError
from mmts.settings.towers import Towers
from mmts.training.inputs import Inputs
from tests.conftest import Project
from tests.making import take_in_hand
from tests.making_streams import Numbers
from tests.making_towers import write_converted, write_tokenizer

CNN = {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 16}
CLIPS = {"name": "video_vit", "weights": "random", "frozen": False, "image_size": 32,
         "clip_length": 4}  # fmt: skip
TEXT = {"name": "clip_text", "weights": "random", "frozen": False}


def inputs(project: Project, text: dict[str, Any], vision: dict[str, Any] = CNN) -> Inputs:
    towers = Towers.model_validate({"vision": vision, "text": text})
    return Inputs(project.root / "data", "tiny", towers)


def test_pieces_learned_for_clip_text(project: Project) -> None:
    found = inputs(project, {**TEXT, "shape": {"context": 4}})
    tokenizer = found.tokenizer()
    assert tokenizer is not None
    pairs = found.pairs("test", tokenizer)
    end = found.dims["vocabulary"] - 1
    assert end == tokenizer.get_vocab_size() - 1 and tokenizer.id_to_token(end) == "[END]"
    ids = pairs.text[:]
    assert ids.shape == (len(pairs.captions), 4)
    assert ((ids == end).sum(dim=1) == 1).all()
    assert ids.max() == end and pairs.clip_length is None


def test_a_given_tokenizer_is_cut_to_the_weights_context(project: Project, tmp_path: Path) -> None:
    weights, words = write_converted(tmp_path / "x"), write_tokenizer(tmp_path / "words")
    text = {**TEXT, "weights": str(weights), "tokenizer": str(words)}
    found = inputs(project, text)
    tokenizer = found.tokenizer()
    assert tokenizer is not None and tokenizer.truncation["max_length"] == 9
    assert found.dims == {"vocabulary": 30}
    ids = found.pairs("val", tokenizer).text[:]
    assert (ids[:, 0] == 28).all() and ((ids == 29).sum(dim=1) == 1).all()
    other = {**TEXT, "tokenizer": str(words), "shape": {"context": 5}}
    found = inputs(project, other)
    tokenizer = found.tokenizer()
    assert tokenizer is not None and found.pairs("val", tokenizer).text[:].shape[1] == 5
    large = {**text, "tokenizer": str(write_tokenizer(tmp_path / "more", fill=40))}
    with pytest.raises(InputError, match=r"more has 40 ids but the text tower of .* has 30; name"):
        inputs(project, large).tokenizer()


def test_other_text_towers_get_what_they_got(project: Project) -> None:
    small = inputs(project, {"name": "small_transformer", "weights": "random", "frozen": False})
    tokenizer = small.tokenizer()
    assert tokenizer is not None and tokenizer.truncation is None
    assert tokenizer.post_processor is None
    assert small.dims == {"vocabulary": tokenizer.get_vocab_size()}
    frozen = inputs(project, {"name": "sentence", "weights": "x", "frozen": True})
    assert frozen.tokenizer() is None and set(frozen.dims) == {"text"}
    features = frozen.pairs("val", None).text
    assert features[:].dtype == torch.float32
    assert np.shares_memory(features._matrix, frozen.embeddings.text)  # type: ignore[attr-defined]


def test_ids_of_other_captions(project: Project) -> None:
    path = take_in_hand(project.root / "data/embed/tiny/caption_text.npy")
    np.save(path, np.load(path)[:-1])
    with pytest.raises(InputError, match=r"has \d+ ids but \d+ rows in caption_text\.npy; run"):
        inputs(project, TEXT)


def test_a_video_tower_on_pictures(project: Project) -> None:
    text = {"name": "small_transformer", "weights": "random", "frozen": False}
    for use in (lambda i: i.tokenizer(), lambda i: i.pairs("train", None)):
        with pytest.raises(InputError) as caught:
            use(inputs(project, text, CLIPS))
        assert str(caught.value) == (
            "datasets.tiny.captions.sources are pictures but datasets.tiny.towers.vision.name is "
            "video_vit, which takes clips; name a tower that takes pictures"
        )


def test_a_picture_tower_on_clips(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def reader(folder: Path, split: str) -> Any:
        opened.append(split)
        return SimpleNamespace(video=True, samples=[{"captions": ["a red ball"]}])

    monkeypatch.setattr("mmts.training.inputs.ShardReader", reader)
    found = inputs(project, TEXT)
    for use in (found.tokenizer, lambda: found.pairs("val", None)):
        with pytest.raises(InputError) as caught:
            use()
        assert str(caught.value) == (
            "datasets.tiny.captions.sources are videos but datasets.tiny.towers.vision.name is "
            "small_cnn, which takes pictures; set it to clip_frames or divided_vit or eva_clip or "
            "video_vit, with a clip_length and `frozen: false`"
        )
    assert opened == ["train", "val"]
    fits = inputs(project, TEXT, CLIPS)
    assert fits.captions("train") == fits.captions("train") == ["a red ball"]
    assert opened == ["train", "val", "train"]


def test_some_items_are_rows_of_the_whole(project: Project) -> None:
    """As a study's long-tailed splits have them."""
    towers = {"vision": {"name": "small_cnn", "weights": "x", "frozen": True, "image_size": 32},
              "text": {"name": "sentence", "weights": "x", "frozen": True}}  # fmt: skip
    found = Inputs(project.root / "data", "tiny", Towers.model_validate(towers))
    items = np.array([1, 4, 9, 12])
    whole, some = found.pairs("train", None), found.pairs("train", None, items=items)
    rows = np.concatenate([np.arange(*whole.first[i : i + 2]) for i in items])
    assert len(some) == 4 and len(rows) > 4
    assert some.sample_ids == [whole.sample_ids[i] for i in items]
    for name in ("captions", "caption_ids"):
        assert list(getattr(some, name)) == [getattr(whole, name)[row] for row in rows]
    assert some.cluster_id.tolist() == whole.cluster_id[rows].tolist()
    assert some.owner.tolist() == [
        n for n, i in enumerate(items) for _ in rows[whole.owner[rows] == i]
    ]
    assert torch.equal(some.text[:], whole.text[rows])
    assert torch.equal(some.streams(range(4))[some.main], whole.streams(items.tolist())[whole.main])
    assert some.shards.cluster_size == whole.shards.cluster_size
    pictures = [some.shards.image_bytes(n) for n in range(4)]
    assert pictures == [whole.shards.image_bytes(i) for i in items]
    del some
    assert whole.shards.image_bytes(4) == pictures[1]


def test_a_stream_that_the_shards_have_not(project: Project) -> None:
    towers = Towers.model_validate({"vision": CNN, "text": TEXT})
    found = Inputs(project.root / "data", "tiny", towers, streams={"readings": Numbers()})
    with pytest.raises(InputError, match=r"tiny has no stream readings\.u8; run `dvc repro -sf pa"):
        found.open("train")
