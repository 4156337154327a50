"""Loss terms beside the objective, and what of a model they see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.modulators.scheduled import ScheduledShift
from mmts.towers.model import Encoded, Model, Streams
from mmts.training.batch import Batch
from mmts.training.distributed import World
from mmts.training.step import Stepper
from mmts.training.tau_and_loss import LossInput, TauAndLoss
from tests.training.test_loop import SHIFTS, settings

ALONE = World(0, 1, torch.device("cpu"), None)


class Matching(Model):
    """A model with a context: the tokens of a picture and of a sound, which it can match."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.sound, self.text = (nn.Linear(6, 4) for _ in range(3))
        self.head = nn.Linear(4, 2)
        self.dim = 4

    def encode_vision(self, streams: Streams) -> Encoded:
        tokens = [self.picture(streams["image"]), self.sound(streams["audio"])]
        context = torch.stack(tokens, dim=1)
        return Encoded(nn.functional.normalize(context.mean(1), dim=1), context)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return nn.functional.normalize(self.text(tokens), dim=1)

    def match(self, context: Tensor, tokens: Tensor) -> Tensor:
        found: Tensor = self.head(context.mean(1) * self.text(tokens))
        return found


def batch(rows: int = 8) -> Batch:
    make = torch.Generator().manual_seed(1)
    image, audio, text = (torch.randn(rows, 6, generator=make) for _ in range(3))
    streams = {"image": image, "audio": audio}
    return Batch(streams, text, torch.arange(rows) % 2, torch.arange(rows))


def losses(model: Matching, **more: Any) -> TauAndLoss:
    def matching(seen: LossInput) -> Tensor:
        assert seen.encoded.context is not None
        logits = model.match(seen.encoded.context, seen.batch.text)
        return nn.functional.cross_entropy(logits, torch.ones(len(logits)).long())

    scheduled = ScheduledShift(SHIFTS, alpha=0.0, period=6)
    return TauAndLoss(info_nce, scheduled, ALONE, name="info_nce",
                      terms={"matching": (0.1, matching), **more})  # fmt: skip


def test_terms_add_up_with_their_weights() -> None:
    torch.manual_seed(0)
    model = Matching()
    both, given = losses(model, spread=(2.0, lambda seen: seen.encoded.text.var())), batch()
    stepper = Stepper(model, both, settings())
    encoded = stepper.encode(given)
    tau, terms = both(0, given, encoded)
    assert list(terms) == ["info_nce", "matching", "spread", "loss"]
    wanted = info_nce(encoded.vision, encoded.text, torch.tensor([0.2, 0.1])[given.cluster_id])
    assert isinstance(tau, Tensor) and torch.equal(terms["info_nce"], wanted)
    whole = terms["info_nce"] + 0.1 * terms["matching"] + 2 * terms["spread"]
    torch.testing.assert_close(terms["loss"], whole)
    assert float(stepper.optimise(terms["loss"], 0, 1e-3)) > 0
    assert model.head.weight.grad is not None and model.sound.weight.grad is not None


def test_a_context_does_not_go_in_parts() -> None:
    model = Matching()
    stepper = Stepper(model, losses(model), settings(micro_batch_size=4))
    with pytest.raises(InputError, match=r"train\.micro_batch_size is set, .* set it to null"):
        stepper.encode(batch())


def test_numbers_that_are_none_make_all_terms_none() -> None:
    model = Matching()
    model.text.weight.data.fill_(torch.nan)
    both, given = losses(model), batch()
    _, terms = both(0, given, Stepper(model, both, settings()).encode(given))
    assert list(terms) == ["info_nce", "matching", "loss"]
    assert all(bool(term.isnan()) for term in terms.values())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda v, *_, **__: v.norm(dim=1), r"a tensor of shape \[8\]; it must be a scalar tensor"),
        (lambda v, *_, **__: 0.5, "a float; it must be a scalar tensor with a gradient"),
        (lambda v, *_, **__: v.detach().sum(), "a tensor without a gradient; it must be a scalar"),
    ],
)
def test_a_loss_that_is_no_scalar_with_a_gradient(given: Any, told: str) -> None:
    model, pairs = Matching(), batch()
    scheduled = ScheduledShift(SHIFTS, alpha=0.0, period=6)
    losses = TauAndLoss(given, scheduled, ALONE, name="mine")
    with pytest.raises(InputError, match=f"^the loss mine is {told}"):
        losses(0, pairs, Stepper(model, losses, settings()).encode(pairs))


def test_an_error_of_the_first_step_is_the_objectives_own() -> None:
    """No step has moved the weights yet."""

    def refusing(*_: Any, **__: Any) -> Tensor:
        raise InputError("no pairs for me")

    model, pairs = Matching(), batch()
    losses = TauAndLoss(refusing, ScheduledShift(SHIFTS, alpha=0.0, period=6), ALONE)
    encoded = Stepper(model, losses, settings()).encode(pairs)
    with pytest.raises(InputError, match=r"^no pairs for me$"):
        losses(0, pairs, encoded)
    with pytest.raises(InputError, match=r"astray at step 1 \(no pairs for me\); lower train\.l"):
        losses(1, pairs, encoded)


def test_a_term_does_not_hold_the_model() -> None:
    model = Matching()
    holding = nn.ModuleList([model])
    with pytest.raises(InputError, match=r"a loss term has the model as a part, .* keep the model"):
        Stepper(model, losses(model, mine=(1.0, holding)), settings())
