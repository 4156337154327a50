from pathlib import Path

import pytest

from mmts.errors import InputError
from mmts.towers.small import MAX_TOKENS
from mmts.towers.tokens import encode, read_tokenizer, train_tokenizer

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
