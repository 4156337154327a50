"""What is compared: the losses of mmts, the usual ways to write them, the bare matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmts import losses
from tests import straightforward

Loss = Callable[[Tensor, Tensor, float | Tensor], Tensor]
OURS, STRAIGHTFORWARD, DENSE, FLOOR = "ours", "straightforward", "dense", "floor"
FORMS: dict[tuple[str, str], Loss] = {
    ("max_margin", OURS): losses.max_margin,
    ("max_margin", STRAIGHTFORWARD): straightforward.max_margin,
    ("max_margin", DENSE): straightforward.dense_max_margin,
    ("info_nce", OURS): losses.info_nce,
    ("info_nce", STRAIGHTFORWARD): straightforward.info_nce,
}
TYPICAL = {"max_margin": 0.2, "info_nce": 0.1}
PRODUCTS = {"max_margin": 3, "info_nce": 4}
"""N x N x D products of a loss that holds no N x N matrix: the similarities and two gradients;
InfoNCE needs the similarities once more when the sums of all rows are known."""

NUMBER, EACH, LEARNED = "a number", "[N]", "[N] learned"
TAUS = (NUMBER, EACH, LEARNED)


class Case(NamedTuple):
    """One thing to measure: a loss, a form of it, and its tau (of a floor: the rows of a block)."""

    loss: str
    form: str
    tau: str


def features(n: int, d: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Two times [N, D] unit rows, seeded; a pair has a cosine of about 0.3, others of about 0."""
    make = torch.Generator().manual_seed(0)
    vision, noise = (F.normalize(torch.randn(n, d, generator=make), dim=1) for _ in range(2))
    text = F.normalize(vision + 3 * noise, dim=1)
    first, second = (rows.to(device, dtype).requires_grad_() for rows in (vision, text))
    return first, second


def temperature(loss: str, kind: str, vision: Tensor) -> float | Tensor:
    """The temperature or the margin: a number, or [N] from half of it to one and a half of it."""
    if kind == NUMBER:
        return TYPICAL[loss]
    share = 0.5 + torch.rand(len(vision), generator=torch.Generator().manual_seed(1))
    dtype = torch.promote_types(vision.dtype, torch.float32)
    return (TYPICAL[loss] * share).to(vision.device, dtype).requires_grad_(kind == LEARNED)


def calls(
    vision: Tensor, text: Tensor, skip_straightforward: bool
) -> dict[Case, Callable[[], object]]:
    """All that is timed, by what it is; the products in blocks, and whole where that is small."""
    n = len(vision)
    found: dict[Case, Callable[[], object]] = {}
    for loss, form in FORMS:
        if skip_straightforward and form != OURS:
            continue
        for tau in TAUS if form != DENSE else (EACH,):
            case = Case(loss, form, tau)
            found[case] = forward_backward(case, vision, text)
    for loss in PRODUCTS:
        for block in sorted({min(size, n) for size in (256, 1024, 4096)}):
            found[Case(loss, FLOOR, f"{block} rows")] = products(loss, block, vision, text)
    return found


def forward_backward(case: Case, vision: Tensor, text: Tensor) -> Callable[[], list[Tensor]]:
    """The call that is measured: it returns the loss, and its gradients by all that have one."""
    tau, loss = temperature(case.loss, case.tau, vision), FORMS[case.loss, case.form]
    leaves = [x for x in (vision, text, tau) if isinstance(x, Tensor) and x.requires_grad]

    def run() -> list[Tensor]:
        value = loss(vision, text, tau)
        return [value.detach(), *torch.autograd.grad(value, leaves)]

    return run


def products(
    loss: str, block: int, vision: Tensor, text: Tensor
) -> Callable[[], tuple[Tensor, Tensor]]:
    """The matrix products of a loss alone, `block` rows at a time, into memory that is there."""
    v, t = vision.detach(), text.detach()
    grad_v, grad_t = torch.empty_like(v), torch.empty_like(t)
    space = v.new_empty(min(block, len(v)), len(t))

    def run() -> tuple[Tensor, Tensor]:
        for low in range(0, len(v), block):
            rows = v[low : low + block]
            similarity = space[: len(rows)]
            for _ in range(PRODUCTS[loss] - 2):
                torch.mm(rows, t.T, out=similarity)
            torch.mm(similarity, t, out=grad_v[low : low + block])
            torch.addmm(grad_t, similarity.T, rows, beta=1 if low else 0, out=grad_t)
        return grad_v, grad_t

    return run


def disagreement(loss: str, n: int, d: int, device: str) -> float:
    """Largest relative difference, in float64, of ours from the straightforward form.

    Of the value, and of each gradient relative to the largest entry of it.
    """
    worst = 0.0
    vision, text = features(n, d, torch.float64, device)
    vision, text = (F.normalize(x.detach(), dim=1).requires_grad_() for x in (vision, text))
    for kind in TAUS:
        ours = forward_backward(Case(loss, OURS, kind), vision, text)()
        theirs = forward_backward(Case(loss, STRAIGHTFORWARD, kind), vision, text)()
        for mine, wanted in zip(ours, theirs, strict=True):
            worst = max(worst, ((mine - wanted).abs().max() / wanted.abs().max()).item())
    return worst
