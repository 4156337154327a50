import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.losses.clip_loss import ClipLoss
from tests.losses.test_info_nce import taus, unit

# the signatures of open_clip 3.3, which does not import beside a CPU-only torch
INIT = {
    "local_loss": False, "gather_with_grad": False, "cache_labels": False,
    "rank": 0, "world_size": 1, "use_horovod": False,
}  # fmt: skip
FORWARD = ("image_features", "text_features", "logit_scale", "logit_bias", "output_dict")


def clip_losses() -> list[type[Any]]:
    """Ours, and open_clip's own where that is installed (its loss.py needs torch alone)."""
    found = importlib.util.find_spec("open_clip")
    if found is None or found.origin is None:
        return [ClipLoss]
    spec = importlib.util.spec_from_file_location("loss", Path(found.origin).with_name("loss.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [ClipLoss, module.ClipLoss]


@pytest.mark.parametrize("clip_loss", clip_losses())
def test_signature_is_open_clips(clip_loss: type[Any]) -> None:
    init = dict(inspect.signature(clip_loss).parameters)
    assert {name: p.default for name, p in init.items()} == INIT
    forward = inspect.signature(clip_loss.forward).parameters
    assert tuple(forward)[1:] == FORWARD
    assert forward["logit_bias"].default is None and forward["output_dict"].default is False


@pytest.mark.parametrize("clip_loss", clip_losses())
def test_without_tau_it_is_clips_loss(clip_loss: type[Any]) -> None:
    v, t = unit(6, seed=1), unit(6, seed=2)
    scale = torch.tensor(14.0, dtype=torch.float64, requires_grad=True)
    logits = scale * v @ t.T
    target = torch.arange(6)
    cross = torch.nn.functional.cross_entropy
    wanted = (cross(logits, target) + cross(logits.T, target)) / 2
    for bias in (None, torch.tensor(-10.0, dtype=torch.float64)):
        found = clip_loss()(v, t, scale, logit_bias=bias)
        torch.testing.assert_close(found, wanted)
        (gradient,) = torch.autograd.grad(found, scale)
        torch.testing.assert_close(gradient, *torch.autograd.grad(wanted, scale, retain_graph=True))


def test_tau_of_the_batch() -> None:
    v, t, tau = unit(6, seed=1), unit(6, seed=2), taus(6)
    loss = ClipLoss()
    loss.tau = tau
    found = loss(
        image_features=v, text_features=t, logit_scale=torch.tensor(14.0), output_dict=True
    )
    assert list(found) == ["contrastive_loss"]
    torch.testing.assert_close(found["contrastive_loss"], info_nce(v, t, tau))


def test_what_it_refuses() -> None:
    with pytest.raises(InputError, match="use_horovod is true"):
        ClipLoss(use_horovod=True)
    with pytest.raises(InputError, match="world_size is 2 but there is no process group"):
        ClipLoss(world_size=2)
