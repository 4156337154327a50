"""BERT as two ways of reading: captions alone, and captions with a context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from mmts.errors import InputError
from mmts.kinds.text import TEXT_TOWERS
from mmts.settings import shapes
from mmts.towers.bert import Bert
from tests.towers.omni import VOCABULARY, bert, tiny

IDS = torch.tensor([[5, 9, 3, 8, 7, 0, 0], [5, 2, 0, 0, 0, 0, 0], [5, 1, 1, 4, 9, 30, 7]])


def made(cross: bool) -> Bert:
    """A tower whose weights are large enough to tell one text from another."""
    torch.manual_seed(0)
    tower = bert(cross).eval()
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            parameter.normal_(float("LayerNorm.weight" in name), 0.3)
    return tower


def by_transformers(tower: Bert, ids: Tensor, context: Tensor | None) -> Tensor:
    """What BertModel gives with a mask of four dimensions, which it takes as it is: both ways."""
    real = (ids != 0)[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
    found: Tensor = tower.model(
        input_ids=ids, attention_mask=real, encoder_hidden_states=context, use_cache=False
    ).last_hidden_state
    return found


@pytest.mark.parametrize("cross", [False, True])
def test_it_is_bert_of_transformers(cross: bool) -> None:
    tower = made(cross)
    context = torch.randn(3, 5, 32) if cross else None
    with torch.no_grad():
        found, wanted = tower.hidden(IDS, context), by_transformers(tower, IDS, context)
    real = IDS != 0
    torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=1e-4)


def test_the_first_token_sees_later_ones_and_no_padding() -> None:
    for cross in (False, True):
        tower = made(cross)
        changed = IDS.clone()
        changed[0, 4] = 11
        longer = torch.cat([IDS, torch.zeros(3, 2, dtype=torch.int64)], dim=1)
        with torch.no_grad():
            rows, others, padded = tower(IDS), tower(changed), tower(longer)
        assert float((rows[0] - others[0]).abs().max()) > 1e-2
        assert torch.equal(rows[1:], others[1:])
        torch.testing.assert_close(rows, padded)


def test_texts_share_the_context_of_their_item() -> None:
    tower = made(cross=True)
    context = torch.randn(2, 5, 32)
    several = torch.stack([IDS[:2], IDS[1:]])  # [2 items, 2 texts, 7]
    with torch.no_grad():
        found = tower.hidden(several, context)
        alone = tower.hidden(several.flatten(0, 1), context.repeat_interleave(2, 0))
    torch.testing.assert_close(found.flatten(0, 1), alone)


def test_gradients_are_the_same_where_activations_are_computed_again() -> None:
    grads = []
    for again in (False, True):
        tower = made(cross=True).train()
        tower.recompute = again
        tower.hidden(IDS, torch.ones(3, 5, 32)).square().sum().backward()
        grads.append([p.grad for p in tower.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_from_a_model_of_transformers(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(3)
    model = BertModel(config).eval()
    model.save_pretrained(tmp_path)
    towers = [Bert.load(str(tmp_path), cross).eval() for cross in (False, True)]
    with torch.no_grad():
        wanted = model(input_ids=IDS[2:]).last_hidden_state[:, 0]
        for tower in towers:
            torch.testing.assert_close(tower(IDS[2:]), wanted, atol=1e-5, rtol=1e-4)
    assert [any("crossattention" in n for n, _ in t.named_parameters()) for t in towers] == [
        False,
        True,
    ]
    assert towers[0].loaded == towers[1].loaded and len(str(towers[0].loaded)) == 64
    again = Bert.empty(towers[1].shape)
    again.load_state_dict(towers[1].state_dict())
    with pytest.raises(
        InputError, match="the texts have 17 tokens; it takes 1 to 16: truncate them"
    ):
        towers[0](torch.ones(1, 17, dtype=torch.int64))


def test_weights_that_do_not_fit_the_settings(tmp_path: Path) -> None:
    sizes: Any = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 16,
    }  # fmt: skip
    for name, more in (("short", {}), ("odd", {"pad_token_id": 3})):
        BertModel(BertConfig(**sizes, **more)).save_pretrained(tmp_path / name)
    text = {"name": "bert", "frozen": False}
    for name, most, problem in (
        ("short", 20, "towers.text.max_tokens is 20 but {} takes 16 tokens; lower it"),
        ("odd", 8, "{} pads with the id 3, not 0; name a BERT whose [PAD] is that"),
    ):
        weights = str(tmp_path / name)
        found = TEXT_TOWERS.validated({**text, "weights": weights, "max_tokens": most})
        with pytest.raises(InputError) as caught:
            found.build(VOCABULARY)
        assert str(caught.value) == problem.format(weights)


def test_the_shape_tiny_and_unknown_names() -> None:
    assert tiny(shapes.Bert).width == 32
    with pytest.raises(ValueError, match="it is 'huge'; write tiny, or a mapping of sizes"):
        from pydantic import TypeAdapter

        TypeAdapter(shapes.Bert).validate_python("huge")
