import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DistilBertModel

from mmts.errors import InputError
from mmts.kinds.text import TEXT_TOWERS, TextTower
from mmts.towers.distilbert import DistilBert
from mmts.towers.tokens import encode, vocabulary_size
from mmts.weights import fingerprint
from tests.making_towers import text_tokenizer, text_tower, write_hub_cache
from tests.making_transformers import write_bert_tokenizer, write_distilbert, write_resnet

TEXTS = ["a red ball", "one", "", "a white cone a white cone a white cone a white cone"]


def settings(weights: Path | str = "random", **changes: Any) -> TextTower:
    tree = {"name": "distilbert", "weights": str(weights), "frozen": False, "pooling": "cls"}
    return TEXT_TOWERS.validated({**tree, **changes})


def never() -> list[str]:
    raise AssertionError("no tokenizer is to be learned")


def made(of: TextTower) -> tuple[DistilBert, torch.Tensor]:
    tokenizer = text_tokenizer(of, lambda: TEXTS)
    tower = text_tower(of, vocabulary_size(tokenizer))
    assert isinstance(tower, DistilBert)
    return tower, encode(tokenizer, TEXTS)


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_each_text_alone_without_padding(tmp_path: Path, pad: int, pooling: str) -> None:
    folder = write_distilbert(tmp_path, pad)
    tower, ids = made(settings(folder, pooling=pooling))
    model = DistilBertModel.from_pretrained(folder).eval()
    assert tower.dim == 16 and tower.loaded == fingerprint(model.state_dict())
    assert ids.shape == (4, 12) and ids[1].tolist() == [2, 5, 3, *[pad] * 9]
    with torch.inference_mode():
        found = tower.eval()(ids)
        for row, one in zip(found, ids, strict=True):
            alone = one[one != pad].unsqueeze(0)
            hidden = model(input_ids=alone).last_hidden_state[0]
            wanted = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
            torch.testing.assert_close(row, wanted, rtol=1e-5, atol=1e-5)
        mask = (ids != pad).long()
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        if pooling == "cls":
            torch.testing.assert_close(found, hidden[:, 0], rtol=1e-5, atol=1e-5)


def test_texts_of_padding_alone_have_features() -> None:
    torch.manual_seed(0)
    shape = {"context": 8, "width": 16, "layers": 1, "heads": 2}
    tower, ids = made(settings(pooling="mean", shape=shape))
    assert tower.loaded is None and tower.context == 8 == ids.shape[1]
    assert ids[2].tolist() == [0] * 8
    found = tower(ids)
    assert torch.isfinite(found).all() and found.shape == (4, 16)
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in tower.parameters() if p.grad is not None)


def test_random_weights_have_the_size_of_distilbert() -> None:
    with torch.device("meta"):
        tower = text_tower(settings(tokenizer="x"), 30522)
    assert sum(p.numel() for p in tower.parameters()) == 66_362_880 and tower.dim == 768


def test_texts_that_are_too_long(tmp_path: Path) -> None:
    tower, ids = made(settings(write_distilbert(tmp_path)))
    for wrong in (torch.ones(2, 13, dtype=torch.long), ids[0], ids[:, :0]):
        with pytest.raises(InputError, match=r"\[N, L\] with L from 1 to 12: truncate the texts"):
            tower(wrong)


def test_cut_to_max_tokens(tmp_path: Path) -> None:
    folder = write_distilbert(tmp_path)
    _, ids = made(settings(folder, max_tokens=6))
    assert ids.shape == (4, 6) and (ids[:, 0] == 2).all()
    assert ids[3, -1] == 3 and ids[2].tolist() == [2, 3, 0, 0, 0, 0]
    with pytest.raises(InputError) as caught:
        made(settings(folder, max_tokens=13))
    assert str(caught.value) == (
        "towers.text.max_tokens is 13 but distilbert takes 12 at most; lower it"
    )


def test_the_tokenizer_is_that_beside_the_weights_or_another(tmp_path: Path) -> None:
    folder = write_distilbert(tmp_path / "model")
    own = text_tokenizer(settings(folder), never)
    write_bert_tokenizer(tmp_path / "other", pad=1)
    plain = write_bert_tokenizer(tmp_path / "plain", cls=False)
    assert vocabulary_size(own) == 13 and own.truncation["max_length"] == 12
    for tokenizer, problem in (
        (tmp_path / "other", r"has '\[UNK\]' at id 0, which the text tower takes for padding"),
        (plain, r"does not begin texts with \[CLS\], whose features the text tower gives; name"),
        (tmp_path, r"has no tokenizer\.json; give a folder"),
        ("nobody/none", r"nobody/none cannot be loaded \("),
    ):
        with pytest.raises(InputError, match=problem) as caught:
            text_tokenizer(settings(folder, tokenizer=str(tokenizer)), never)
        assert "\n" not in str(caught.value)
    mean = text_tokenizer(settings(folder, tokenizer=str(plain), pooling="mean"), never)
    assert encode(mean, ["a", "a red"]).tolist() == [[4, 0], [4, 6]]
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"model has no tokenizer\.json; give a folder"):
        text_tokenizer(settings(folder), never)


def test_a_tokenizer_with_too_many_ids(tmp_path: Path) -> None:
    folder = write_distilbert(tmp_path, vocab_size=12)
    with pytest.raises(InputError) as caught:
        made(settings(folder))
    assert str(caught.value) == (
        f"towers.text.tokenizer {folder} has 13 ids but the text tower of {folder} has 12; name "
        "the one that it was trained with"
    )


def test_from_the_hub_and_again_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = write_distilbert(tmp_path / "model")
    write_hub_cache(tmp_path / "hub", "org/bert", folder)
    tower, ids = made(settings("org/bert"))
    wanted, _ = made(settings(folder))
    assert tower.revision == "0" * 39 + "1" and wanted.revision is None
    assert tower.loaded == wanted.loaded
    shape = json.loads(json.dumps(tower.shape))
    again = text_tower(settings("/gone"), 13, shape)
    assert type(again) is DistilBert and again.loaded is None and again.pooling == "cls"
    again.load_state_dict(tower.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(ids), tower.eval()(ids))
        assert torch.equal(tower(ids), wanted.eval()(ids))


def test_models_that_are_none(tmp_path: Path) -> None:
    resnet = write_resnet(tmp_path / "resnet")
    for make in (lambda spec: text_tokenizer(settings(spec), never),
                 lambda spec: text_tower(settings(spec), 9)):  # fmt: skip
        for spec, problem in (
            (resnet, r"holds no DistilBERT model \(its model_type is resnet\); give a Dist"),
            ("nobody/none", r"^nobody/none cannot be loaded \(.*; give a DistilBERT model's loc"),
            (tmp_path / "none", "no such folder; give a DistilBERT"),
            (tmp_path, r"has no config\.json; give a DistilBERT"),
        ):
            with pytest.raises(InputError, match=problem) as caught:
                make(spec)
            assert "\n" not in str(caught.value)


def test_gradient_checkpointing_changes_nothing_and_it_compiles(tmp_path: Path) -> None:
    folder = write_distilbert(tmp_path, dropout=0.0, attention_dropout=0.0)
    found = []
    for recompute in (False, True):
        tower, ids = made(settings(folder, gradient_checkpointing=recompute))
        tower.train()(ids).square().mean().backward()
        found.append([p.grad for p in tower.parameters()])
    torch.testing.assert_close(found[0], found[1])
    tower, ids = made(settings(folder))
    whole = torch.compile(tower.eval(), fullgraph=True, backend="eager")
    torch.testing.assert_close(whole(ids), tower(ids))
