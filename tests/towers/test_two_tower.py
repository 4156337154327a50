from typing import Any

import pytest
import torch
from torch import nn

from mmts.settings import Head, Towers
from mmts.towers.two_tower import TwoTower, encode_all, parameter_groups, projection


def towers(vision_frozen: bool, text_frozen: bool) -> Towers:
    text: dict[str, Any] = {"name": "sentence", "weights": "m", "frozen": True}
    if not text_frozen:
        text = {"name": "small_transformer", "weights": "random", "frozen": False}
    weights = "x" if vision_frozen else "random"
    vision = {"name": "small_cnn", "weights": weights, "frozen": vision_frozen, "image_size": 32}
    return Towers.model_validate({"vision": vision, "text": text})


@pytest.mark.parametrize("hidden", [None, 24])
def test_frozen_sides_take_features(hidden: int | None) -> None:
    torch.manual_seed(0)
    model = TwoTower(towers(True, True), Head(dim=8, hidden=hidden), {"vision": 5, "text": 6})
    v, t = model(torch.randn(4, 5), torch.randn(4, 6))
    assert v.shape == t.shape == (4, 8)
    for rows in (v, t):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))


def test_trainable_sides_take_pictures_and_tokens() -> None:
    torch.manual_seed(0)
    model = TwoTower(towers(False, False), Head(dim=8), {"vocabulary": 30})
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    v, t = model(pictures, torch.randint(1, 30, (4, 7)))
    assert v.shape == t.shape == (4, 8)
    (v - t).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_head_normalises_its_input() -> None:
    torch.manual_seed(0)
    head = projection(6, Head(dim=4))
    x = torch.randn(3, 6)
    torch.testing.assert_close(head(x), head(100 * x + 7), atol=1e-3, rtol=1e-3)


def test_dropout_is_of_training_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6)
    for hidden in (None, 32):
        head = projection(6, Head(dim=4, hidden=hidden, dropout=0.5))
        assert not torch.equal(head(x), head(x))
        head.eval()
        assert torch.equal(head(x), head(x))


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(1, 1, 3))
    for parameter in model[2].parameters():
        parameter.requires_grad_(False)
    matrices, vectors = parameter_groups(model, 0.3)
    assert [p.shape for p in matrices["params"]] == [(4, 3)] and matrices["weight_decay"] == 0.3
    assert [p.ndim for p in vectors["params"]] == [1, 1, 1] and vectors["weight_decay"] == 0


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_encode_all_joins_the_batches(batch: int) -> None:
    x = torch.arange(14.0, requires_grad=True).reshape(7, 2)
    found = encode_all(lambda rows: 2 * rows, x.split(batch), torch.device("cpu"))
    assert torch.equal(found, 2 * x) and not found.requires_grad
