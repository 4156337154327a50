import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, processors

from mmts.errors import InputError
from mmts.towers.tokens import (
    MAX_TOKENS,
    cut_to,
    encode,
    given_tokenizer,
    pad_with,
    read_tokenizer,
    tokens_of,
    train_tokenizer,
    vocabulary_size,
)
from tests.making_towers import write_hub_cache, write_tokenizer

TEXTS = ["a red ball", "a red box", "the blue ball", "NA", "שלום 👩🏽‍🚀"] * 3


def test_the_same_texts_give_the_same_pieces() -> None:
    assert train_tokenizer(TEXTS).to_str() == train_tokenizer(iter(TEXTS)).to_str()


def test_ids_are_padded_with_0_and_cut() -> None:
    tokenizer = train_tokenizer(TEXTS)
    ids = encode(tokenizer, ["a red ball", "", "the blue ball " * 40])
    assert ids.shape == (3, MAX_TOKENS) and ids[1].tolist() == [0] * MAX_TOKENS
    assert (ids[2] > 0).all()
    short = encode(tokenizer, ["a red ball", "a"])
    assert short.shape[1] < 8 and short[0, -1] > 0 and short[1, -1] == 0
    assert encode(tokenizer, [""]).shape == (1, 1)


@pytest.mark.parametrize("pad", [None, 1])
@pytest.mark.parametrize("limit", [None, 5])
def test_rows_are_those_of_one_padded_table(
    monkeypatch: pytest.MonkeyPatch, pad: int | None, limit: int | None
) -> None:
    """Against the tokenizer text by text; in parts, and any rows of them."""
    monkeypatch.setattr("mmts.towers.tokens.TEXTS_AT_ONCE", 4)
    tokenizer = train_tokenizer(TEXTS)
    texts = [*TEXTS, "", "a red ball " * 30]
    ids = [tokenizer.encode(text).ids[: limit or MAX_TOKENS] for text in texts]
    width = max(map(len, ids))
    wanted = torch.tensor([row + [pad or 0] * (width - len(row)) for row in ids])
    if pad is not None:
        pad_with(tokenizer, pad)
    if limit is not None:
        cut_to(tokenizer, limit)
    found = tokens_of(tokenizer, texts)
    assert len(found) == len(texts) and found.width == width
    assert torch.equal(found[:], wanted) and torch.equal(encode(tokenizer, texts), wanted)
    assert found._ids.dtype == np.uint16 and len(found._ids) == sum(map(len, ids))
    rows = np.array([3, 16, 0, 15, 3])
    assert torch.equal(found[rows], wanted[rows]) and torch.equal(found[2:9:3], wanted[2:9:3])
    assert found[5:5].shape == (0, width) and found[:].dtype == torch.int64


def test_no_text_is_unknown_and_case_does_not_matter() -> None:
    tokenizer = train_tokenizer(TEXTS)
    unseen = "Zürich, 東京! \u200f"
    unknown = tokenizer.token_to_id("[UNK]")
    assert unknown not in encode(tokenizer, [unseen]).flatten().tolist()
    both = encode(tokenizer, ["A RED Ball", "a red ball"])
    assert both[0].tolist() == both[1].tolist()
    other = encode(tokenizer, ["a red ball", "a red box"])
    assert other[0].tolist() != other[1].tolist()


def test_reading_it_back(tmp_path: Path) -> None:
    tokenizer, path = train_tokenizer(TEXTS), tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    assert encode(read_tokenizer(path), TEXTS).tolist() == encode(tokenizer, TEXTS).tolist()
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match=r"tokenizer\.json is damaged .*; run `dvc repro`"):
        read_tokenizer(path)
    path.unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is not there; run `dvc repro`"):
        read_tokenizer(path)


def test_learned_pieces_are_those_without_an_end_of_text_and_one_more() -> None:
    plain, ended = train_tokenizer(TEXTS), train_tokenizer(TEXTS, end_of_text=True)
    size = plain.get_vocab_size()
    assert vocabulary_size(plain) == size and vocabulary_size(ended) == size + 1
    assert plain.post_processor is None and plain.truncation is None
    cut_to(ended, 60)
    rows = encode(ended, [*TEXTS[:5], ""])
    for row, wanted in zip(rows, [*encode(plain, TEXTS[:5]), []], strict=True):
        ids = [int(i) for i in wanted if i]
        assert row.tolist() == [*ids, size, *[0] * (len(row) - len(ids) - 1)]
    assert rows.argmax(dim=1).tolist() == [(row == size).nonzero().item() for row in rows]


@pytest.mark.parametrize("learned", [False, True])
def test_long_texts_are_cut_and_keep_their_end(tmp_path: Path, learned: bool) -> None:
    if learned:
        tokenizer = train_tokenizer(TEXTS, end_of_text=True)
    else:
        tokenizer = given_tokenizer(str(write_tokenizer(tmp_path)))
    end = vocabulary_size(tokenizer) - 1
    cut_to(tokenizer, 6)
    tokenizer.save(str(tmp_path / "kept.json"))
    for one in (tokenizer, read_tokenizer(tmp_path / "kept.json")):
        ids = encode(one, ["a red ball " * 30, "a"])
        assert ids.shape == (2, 6) and ids[0, -1] == end
        assert (ids[0, :-1] < end).all() and (ids[0, :-1] > 0).all()
        assert ids[1].tolist().count(end) == 1 and ids[1, -1] == 0


def test_a_given_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tokenizer(tmp_path / "here")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    write_hub_cache(tmp_path / "hub", "org/clip", folder)
    for spec in (str(folder), "org/clip"):
        found = given_tokenizer(spec)
        assert vocabulary_size(found) == 30
        assert encode(found, ["a red BALL"]).tolist() == [[28, 1, 3, 7, 29]]
    with pytest.raises(InputError) as caught:
        given_tokenizer("nobody/none")
    assert str(caught.value).startswith("nobody/none cannot be loaded (")
    assert str(caught.value).endswith(
        "with the tokenizer.json that the text tower was trained with"
    )
    with pytest.raises(InputError, match=r"has no tokenizer\.json; give a folder"):
        given_tokenizer(str(tmp_path))
    with pytest.raises(InputError, match="no such folder; give a folder"):
        given_tokenizer(str(tmp_path / "none"))
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer\.json is damaged .*; get it again"):
        given_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("pieces", "special", "said"),
    [
        ({}, None, r"tokenizer\.json has no pieces; run `dvc repro`$"),
        ({"a": 2**31}, None, r"a piece with the id 2,147,483,648, 2,000,000 ids at most; run `dvc"),
        ({"a": 0}, 2**31, r"has no id above 0 and gives texts 2,147,483,648; get it again"),
        ({"a": 0}, 1, r"has no id above 0 and gives texts 1; get it again"),
    ],
)
def test_ids_that_no_text_tower_has(
    tmp_path: Path, pieces: dict[str, int], special: int | None, said: str
) -> None:
    tokenizer = Tokenizer(models.WordPiece(dict.fromkeys(pieces, 0), unk_token="a"))
    if special is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A end", special_tokens=[("end", special)]
        )
    written = json.loads(tokenizer.to_str())
    written["model"]["vocab"] = pieces  # not by the library: it counts up to the highest id
    (tmp_path / "tokenizer.json").write_text(json.dumps(written))
    with pytest.raises(InputError, match=said):
        encode(read_tokenizer(tmp_path / "tokenizer.json"), ["a", ""])


def test_tokenizers_whose_end_of_text_is_not_their_highest_id(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        given_tokenizer(str(write_tokenizer(tmp_path, last="[PAD]")))
    message = str(caught.value)
    assert "ends texts with 28, not with its highest id 29 ([PAD])" in message
    assert "\n" not in message and message.startswith("towers.text.tokenizer ")
    train_tokenizer(TEXTS).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"ends texts with \d+, \d+, nothing, not with"):
        given_tokenizer(str(tmp_path))


def test_padding_and_truncation_of_a_given_tokenizer_do_not_count(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path) / "tokenizer.json"
    tokenizer = read_tokenizer(path)
    tokenizer.enable_padding(length=12, pad_id=7)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(path))
    found = given_tokenizer(str(tmp_path))
    cut_to(found, 9)
    assert encode(found, ["a red ball"]).tolist() == [[28, 1, 3, 7, 29]]
