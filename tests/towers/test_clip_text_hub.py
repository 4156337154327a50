import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection

from mmts.errors import InputError
from mmts.kinds.text import TEXT_TOWERS, TextTower
from mmts.towers.clip_text import ClipText
from mmts.towers.tokens import encode, vocabulary_size
from mmts.weights import fingerprint
from tests.making_towers import (
    text_tokenizer,
    text_tower,
    write_clip,
    write_hub_cache,
    write_tokenizer,
)
from tests.making_transformers import write_clip_text

TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 8}  # fmt: skip
TEXTS = ["a red ball", "one", "", "a white cone " * 9]


def settings(weights: Path | str, words: Path, **changes: Any) -> TextTower:
    tree = {"name": "clip_text", "weights": str(weights), "frozen": False, "tokenizer": str(words)}
    return TEXT_TOWERS.validated({**tree, **changes})


def made(of: TextTower) -> tuple[ClipText, torch.Tensor]:
    tokenizer = text_tokenizer(of, list)
    tower = text_tower(of, vocabulary_size(tokenizer))
    assert isinstance(tower, ClipText)
    return tower.eval(), encode(tokenizer, TEXTS)


@pytest.mark.parametrize("gelu", ["gelu", "quick_gelu"])
def test_the_numbers_are_those_of_transformers(tmp_path: Path, gelu: str) -> None:
    words = write_tokenizer(tmp_path / "words")
    folder = write_clip_text(tmp_path / "clip", hidden_act=gelu, layer_norm_eps=1e-3)
    tower, ids = made(settings(folder, words))
    model = CLIPTextModelWithProjection.from_pretrained(folder).eval()
    assert tower.loaded == fingerprint(model.state_dict()) and ids.shape == (4, 9)
    with torch.inference_mode():
        wanted = model(input_ids=ids).text_embeds
        torch.testing.assert_close(tower(ids), wanted, rtol=1e-5, atol=1e-5)
        # some versions pad with end of text: its first place counts
        padded = torch.where(ids == 0, 29, ids)
        torch.testing.assert_close(tower(padded), wanted, rtol=1e-5, atol=1e-5)
    _, short = made(settings(folder, words, max_tokens=5))
    assert short.shape == (4, 5) and (short == 29).sum(dim=1).tolist() == [1] * 4
    with pytest.raises(InputError, match=r"max_tokens is 10 but clip_text takes 9 at most; lower"):
        made(settings(folder, words, max_tokens=10))


def test_from_the_hub_and_again_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    words = write_tokenizer(tmp_path / "words")
    write_hub_cache(tmp_path / "hub", "org/clip", write_clip_text(tmp_path / "clip"))
    tower, ids = made(settings("org/clip", words, gradient_checkpointing=True))
    assert tower.revision == "0" * 39 + "1" and tower.config.gradient_checkpointing
    shape = json.loads(json.dumps(tower.shape))
    again = text_tower(settings("/gone", words), 30, shape)
    again.load_state_dict(tower.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(ids), tower(ids))


def test_the_text_side_of_a_whole_model_and_models_that_are_none(tmp_path: Path) -> None:
    words = write_tokenizer(tmp_path / "words")
    few = settings(write_clip_text(tmp_path / "few", vocab_size=29), words)
    with pytest.raises(InputError, match=r"has 30 ids but the text tower of .* has 29; name"):
        made(few)
    with pytest.raises(InputError, match="has a CLIP text model with intermediate_size 32 and"):
        made(settings(write_clip(tmp_path / "narrow"), words))
    text_side = CLIPTextConfig.from_pretrained(write_clip_text(tmp_path / "text"))
    torch.manual_seed(0)
    whole = CLIPModel(CLIPConfig(text_config=text_side.to_dict(), vision_config=TINY,
                                 projection_dim=8)).eval()  # fmt: skip
    whole.save_pretrained(tmp_path / "whole")
    tower, ids = made(settings(tmp_path / "whole", words))
    with torch.inference_mode():
        wanted = whole.text_projection(whole.text_model(input_ids=ids).pooler_output)
        torch.testing.assert_close(tower(ids), wanted, rtol=1e-5, atol=1e-5)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for spec, problem in (
        (tmp_path, r"holds no CLIP text model \(its model_type is bert\); give a CLIP model's loc"),
        (
            tmp_path / "words",
            r"has no towers\.json and no config\.json; give a CLIP model's",
        ),
        (tmp_path / "none", "no such folder; give a CLIP model's folder or hub id, or the folder"),
    ):
        with pytest.raises(InputError, match=problem) as caught:
            made(settings(spec, words))
        assert "\n" not in str(caught.value)
