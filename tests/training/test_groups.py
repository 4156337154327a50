"""Which parameters decay, and which have a learning rate of their own."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.modulators.scheduled import ScheduledShift
from mmts.settings.training import Head
from mmts.towers.clip_frames import ClipFrames
from mmts.towers.small import SmallTextTransformer, SmallViT
from mmts.towers.two_tower import TwoTower
from mmts.training.groups import parameter_groups
from mmts.training.step import Stepper
from mmts.training.tau_and_loss import TauAndLoss
from tests.towers.test_two_tower import video_model
from tests.towers.test_video_vit import clip
from tests.training.test_loop import FROZEN, HEAD, SHIFTS, settings
from tests.training.test_step import ALONE, batch


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(1, 1, 3))
    for parameter in model[2].parameters():
        parameter.requires_grad_(False)
    matrices, vectors = parameter_groups(model, 0.3)
    assert [p.shape for p in matrices.parameters] == [(4, 3)] and matrices.weight_decay == 0.3
    assert [p.ndim for p in vectors.parameters] == [1, 1, 1] and vectors.weight_decay == 0


def test_position_embeddings_do_not_decay() -> None:
    model = video_model(head=Head(dim=4))
    decaying, others = (
        {name for name, p in model.named_parameters() if any(p is q for q in group.parameters)}
        for group in parameter_groups(model, 0.01)
    )
    assert decaying | others == {name for name, _ in model.named_parameters()}
    assert not decaying & others
    assert {"vision.position", "text.position", "vision.cls"} <= others
    assert {"vision.temporal", "text.tokens.weight", "vision.patches.weight"} <= decaying
    assert {"vision.projection.weight", "text_head.2.weight"} <= decaying
    assert all("norm" in n or n.endswith("bias") or "position" in n or n == "vision.cls"
               for n in others)  # fmt: skip
    small = nn.ModuleDict({"vision": SmallViT(16), "text": SmallTextTransformer(9)})
    shapes = [p.shape for p in parameter_groups(small, 0.01)[0].parameters]
    assert not {small["vision"].position.shape, small["text"].position.shape} & set(shapes)
    frames = ClipFrames(clip())
    place = frames.model.get_parameter("vision_model.embeddings.position_embedding.weight")
    assert any(p is place for p in parameter_groups(frames, 0.01)[1].parameters)


def small() -> nn.Module:
    return nn.ModuleDict({"vision": nn.Linear(2, 2), "text": nn.Linear(2, 2)})


def names(model: nn.Module, rates: dict[str, float]) -> list[tuple[list[str], float, float | None]]:
    of = {id(p): name for name, p in model.named_parameters()}
    return [
        ([of[id(p)] for p in group.parameters], group.weight_decay, group.rate)
        for group in parameter_groups(model, 0.3, rates)
    ]


def test_rates_by_the_first_pattern_that_matches() -> None:
    model = small()
    assert names(model, {"vision.b*": 0.1, "vision.*": 0.2}) == [
        (["text.weight"], 0.3, None),
        (["text.bias"], 0.0, None),
        (["vision.bias"], 0.0, 0.1),
        (["vision.weight"], 0.3, 0.2),
    ]
    assert names(model, {"*": 0.1})[:2] == [([], 0.3, None), ([], 0.0, None)]
    model["text"].requires_grad_(False)  # type: ignore[index]
    with pytest.raises(InputError) as caught:
        parameter_groups(model, 0.3, {"text.*": 0.1})
    assert str(caught.value) == (
        "train.learning_rates: 'text.*' matches no parameter that is trained; the names are those "
        "of named_parameters()"
    )


def test_patterns_without_parameters() -> None:
    with pytest.raises(InputError, match=r"'visoin\.\*' matches no .*; near it: vision\.\*"):
        parameter_groups(small(), 0.3, {"text.*": 0.1, "visoin.*": 0.2})
    told = (
        "train.learning_rates: all that 'text.bias' matches has the rate of a pattern before it, "
        "such as 'text.*'; move 'text.bias' in front, or leave it out"
    )
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        parameter_groups(small(), 0.3, {"vision.*": 0.1, "text.*": 0.1, "text.bias": 0.2})


def test_steps_are_those_of_adamw_with_these_numbers() -> None:
    torch.manual_seed(0)
    models = [TwoTower(FROZEN, HEAD, {"vision": 6, "text": 6}) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    chosen = settings(
        learning_rate=0.01, learning_rates={"vision_head.*": 0.001}, betas=[0.8, 0.9], eps=1e-3
    )
    scheduled = ScheduledShift(SHIFTS, alpha=0.0, period=6)
    losses = TauAndLoss(info_nce, scheduled, ALONE)
    stepper = Stepper(models[0], losses, chosen)
    by_hand = torch.optim.AdamW(
        [
            {"params": [p], "lr": lr, "weight_decay": 0.1 if p.ndim == 2 else 0.0}
            for side, lr in ((models[1].vision_head, 0.0005), (models[1].text_head, 0.005))
            for p in side.parameters()
        ],
        betas=(0.8, 0.9), eps=1e-3,
    )  # fmt: skip
    given = batch()
    for step in range(3):
        _, terms = losses(step, given, stepper.encode(given))
        stepper.optimise(terms["loss"], step, 0.005)
        by_hand.zero_grad()
        losses(step, given, models[1](given.streams, given.text))[1]["loss"].backward()
        by_hand.step()
    for mine, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
