"""The matching term with a small model: what is drawn, two ranks, resuming and the log."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmts import config
from mmts.errors import InputError
from mmts.kinds.term import TERMS
from mmts.losses import info_nce, max_margin
from mmts.losses.ranks import Ranks
from mmts.modulators.scheduled import ScheduledShift
from mmts.towers.model import Encoded, EncodedPairs, Model, Streams
from mmts.training.ahead import try_method
from mmts.training.batch import Batch
from mmts.training.distributed import World
from mmts.training.log import RunLog
from mmts.training.loop import train
from mmts.training.step import Stepper
from mmts.training.tau_and_loss import LossInput, TauAndLoss
from tests import patience
from tests.making_run import checkpoints, die, in_a_fork
from tests.ranks import run_ranks
from tests.training.test_loop import SHIFTS, curves, feature_pairs, settings

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU, None)
ROWS = 8
CELLS = config.load(Path(__file__).parents[2] / "params.yaml").cells


class Small(Model):
    """A context of three tokens an item, which texts are multiplied with."""

    def __init__(self, vision: int = 6, text: int = 5) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.dim = 4
        self.vision, self.text = nn.Linear(vision, 12), nn.Linear(text, 4)
        self.head = nn.Linear(4, 2)

    def encode_vision(self, streams: Streams) -> Encoded:
        context = self.vision(streams["features"]).unflatten(1, (3, 4)).tanh()
        return Encoded(nn.functional.normalize(context.mean(1), dim=1), context)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return nn.functional.normalize(self.text(tokens.float()), dim=1)

    def match(self, context: Tensor, tokens: Tensor) -> Tensor:
        of_item = context.amax(1)
        if tokens.ndim == 3:
            of_item = of_item[:, None]
        logits: Tensor = self.head(of_item * self.text(tokens.float()))
        return logits


def batch(rows: slice = slice(None), classes: bool = False) -> Batch:
    """Items 1 and 6 have one caption."""
    make = torch.Generator().manual_seed(3)
    features = torch.randn(ROWS, 6, generator=make)
    tokens = torch.randint(0, 9, (ROWS, 5), generator=make)
    tokens[6] = tokens[1]
    kind = torch.arange(ROWS)
    columns = torch.tensor([0, 1, 2, 0, 3, 4, 1, 5])[:, None] if classes else torch.empty(ROWS, 0)
    return Batch({"features": features[rows]}, tokens[rows], (kind % 2)[rows], kind[rows],
                 columns.long()[rows])  # fmt: skip


def losses(model: Model, world: World = ALONE, objective: Any = info_nce, seed: int = 0,
           **more: Any) -> TauAndLoss:  # fmt: skip
    term = TERMS.validated({"kind": "matching", "floor": 0.01, **more})
    scheduled = ScheduledShift(SHIFTS, alpha=0.0, period=6)
    return TauAndLoss(objective, scheduled, world, seed=seed, by_row=True, name="first",
                      terms={"matching": (0.5, term.build(model))})  # fmt: skip


def given(step: int, first: int = 0, rows: int = ROWS, classes: bool = False) -> LossInput:
    """What the term sees of all rows, on the rank whose rows begin at `first`."""
    whole, model = batch(classes=classes), Small()
    made = losses(model)
    encoded = model(whole.streams, whole.text)
    tau = made.modulator(step, whole, encoded.vision, encoded.text)
    ranks = Ranks(None, ROWS // rows, first)
    positives = whole.classes == whole.classes.T if classes else None
    return LossInput(whole, encoded, tau, positives, ranks, made._generator(step))


def test_what_is_drawn_follows_from_seed_and_step_on_any_number_of_ranks() -> None:
    term = TERMS.validated({"kind": "matching"})
    seen = set()
    for step in range(20):
        captions, clips = term.drawn(given(step))
        halves = [term.drawn(given(step, first, 4)) for first in (0, 4)]
        for side, whole in enumerate((captions, clips)):
            assert torch.equal(torch.cat([half[side].column for half in halves]), whole.column)
        seen.add(tuple(captions.column.tolist()))
    assert len(seen) > 10


def test_no_true_pair_is_drawn() -> None:
    """Neither the own one, nor one of the same caption or of `positives`."""
    term = TERMS.validated({"kind": "matching", "floor": 1.0})
    found: dict[int, set[int]] = {row: set() for row in range(ROWS)}
    for step in range(60):
        for side in term.drawn(given(step, classes=True)):
            for row, column in enumerate(side.column.tolist()):
                found[row].add(column)
    alike = [{0, 3}, {1, 6}, {2}, {0, 3}, {4}, {5}, {1, 6}, {7}]
    assert [found[row] for row in range(ROWS)] == [set(range(ROWS)) - same for same in alike]


def test_by_hand() -> None:
    """The pairs of the draw, one after the other."""
    model, whole, seen = Small(), batch(), given(0)
    captions, clips = TERMS.validated({"kind": "matching"}).drawn(seen)
    context = seen.encoded.context
    assert context is not None
    each = []
    for row in range(ROWS):
        wrong, other = int(captions.column[row]), int(clips.column[row])
        for item, text, label in ((row, row, 1), (row, wrong, 0), (other, row, 0)):
            logits = model.match(context[item : item + 1], whole.text[text : text + 1])
            each.append(nn.functional.cross_entropy(logits, torch.tensor([label])))
    term = TERMS.validated({"kind": "matching"}).build(model)
    torch.testing.assert_close(term(given(0)), torch.stack(each).mean())


@pytest.mark.parametrize("objective", [info_nce, max_margin])
def test_the_draw_follows_tau(objective: Any) -> None:
    """With a low tau the most similar other is drawn; a margin is no temperature."""
    model, whole = Small(), batch()
    term = TERMS.validated({"kind": "matching", "tau": 1e-4, "floor": 1e-9})
    seen = given(0)._replace(tau=0.0 if objective is max_margin else 0.07)
    captions, clips = term.drawn(seen)
    s = (seen.encoded.vision @ seen.encoded.text.T).detach()
    same = (whole.text[:, None] == whole.text).all(2)
    # where the own pair is the most similar, the floor decides
    for similarity, found in ((s, captions), (s.T, clips)):
        hardest = similarity.masked_fill(same, -9).amax(1)
        drawn = similarity.gather(1, found.column[:, None])[:, 0]
        beats = hardest > similarity.diagonal() + 0.01
        assert int(beats.sum()) > 2 and torch.equal(drawn[beats], hardest[beats])
    made = losses(model, objective=objective, tau=0.07)
    _, terms = made(0, whole, model(whole.streams, whole.text))
    assert list(terms) == ["first", "matching", "loss"] and bool(terms["loss"].isfinite())


def test_a_batch_without_wrong_pairs_has_true_ones() -> None:
    model = Small()
    one = batch(slice(0, 1))
    with pytest.warns(UserWarning, match="one pair"):
        _, terms = losses(model)(0, one, model(one.streams, one.text))
    context = model.encode_vision(one.streams).context
    assert context is not None
    wanted = nn.functional.cross_entropy(model.match(context, one.text), torch.tensor([1]))
    torch.testing.assert_close(terms["matching"], wanted)


def test_the_model_matches_in_the_precision_of_the_towers() -> None:
    whole, model, seen = batch(), Small(), []
    model.head.register_forward_hook(lambda _, __, logits: seen.append(logits.dtype))
    made = losses(model)
    made = TauAndLoss(info_nce, made.modulator, ALONE, terms=made.terms, precision="bf16")
    stepper = Stepper(model, made, settings(precision="bf16"))
    _, terms = made(0, whole, stepper.encode(whole))
    assert seen == [torch.bfloat16] * 2 and terms["matching"].dtype == torch.float32
    stepper.optimise(terms["loss"], 0, 1e-3)


# --- ranks ----------------------------------------------------------------------------------------


def step(world: World, classes: bool) -> tuple[list[float], list[Tensor]]:
    """The terms of a step, and the gradient of each parameter."""
    model, own = Small(), batch(world.share(ROWS), classes)
    network = model if world.group is None else DistributedDataParallel(model)
    _, terms = losses(model, world)(4, own, network(own.streams, own.text))
    terms["loss"].backward()  # type: ignore[no-untyped-call]
    return [terms[name].item() for name in ("first", "matching", "loss")], [
        p.grad for p in model.parameters() if p.grad is not None
    ]


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    wait = timedelta(seconds=patience.seconds(60))
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=wait
    )
    world = World(rank, 2, CPU, dist.group.WORLD)
    torch.save([step(world, classes) for classes in (False, True)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_are_one_process(tmp_path: Path) -> None:
    run_ranks(rank_main, (str(tmp_path),), 2)
    for number, classes in enumerate((False, True)):
        values, gradients = step(ALONE, classes)
        for rank in range(2):
            found = torch.load(tmp_path / f"{rank}.pt")[number]
            assert found[0] == pytest.approx(values, rel=1e-5)
            torch.testing.assert_close(found[1], gradients, rtol=1e-4, atol=1e-6)
            assert len(gradients) == 6


# --- the loop -------------------------------------------------------------------------------------


def trained(folder: Path, keeper: Any = None, at: int = 0) -> tuple[dict[str, Any], str]:
    """Weights and curves of a training; the process dies in its step number `at`."""
    folder.mkdir()
    model, pairs = Small(12, 10), feature_pairs()
    scheduled = ScheduledShift(SHIFTS, alpha=0.1, period=6)
    scheduled.register_forward_pre_hook(lambda _, of: die() if at and of[0] + 1 == at else None)
    term = TERMS.validated({"kind": "matching"})
    with RunLog(folder) as log:
        train(
            model, info_nce, scheduled, pairs, pairs, settings(epochs=3), 0, log, keeper=keeper,
            name="info_nce", terms={"matching": (term.weight, term.build(model))},
        )  # fmt: skip
    return model.state_dict(), (folder / "curves.csv").read_text()


def test_resuming_draws_what_was_drawn(tmp_path: Path) -> None:
    whole, log = trained(tmp_path / "whole")
    keeper = checkpoints(tmp_path / "kept", every_steps=4)
    in_a_fork(lambda: trained(tmp_path / "killed", keeper, at=7))
    assert keeper.newest() is not None
    found, again = trained(tmp_path / "again", keeper)
    assert again == log
    assert all(torch.equal(value, found[name]) for name, value in whole.items())
    rows = curves(tmp_path / "whole")
    logged = [row for row in rows if row["matching"]]
    assert len(logged) == 9 and float(logged[-1]["matching"]) < float(logged[0]["matching"])
    first = logged[0]
    total = float(first["info_nce"]) + 0.1 * float(first["matching"])
    assert float(first["loss"]) == pytest.approx(total, rel=1e-5)


# --- settings -------------------------------------------------------------------------------------


def test_a_margin_needs_a_tau_of_the_draw() -> None:
    method = CELLS["openmoji", "max_margin"]
    told = (
        "terms.matching.tau is null, for the temperature of the method, but the objective "
        "max_margin takes a margin: set it to a number, such as 0.07"
    )
    with pytest.raises(ValueError, match=told):
        TERMS.validated("matching").check(method)
    TERMS.validated({"kind": "matching", "tau": 0.07}).check(method)
    TERMS.validated("matching").check(CELLS["openmoji", "info_nce"])


def test_it_is_built_ahead_and_not_tried() -> None:
    term = TERMS.validated("matching")
    try_method(CELLS["openmoji", "info_nce"].model_copy(update={"terms": {"matching": term}}))


def test_a_model_without_a_context() -> None:
    seen = given(0)
    seen = seen._replace(encoded=EncodedPairs(seen.encoded.vision, seen.encoded.text))
    message = "terms.matching is set, but Small gives no context of a media item to match; set mod"
    with pytest.raises(InputError, match=message):
        TERMS.validated("matching").build(Small())(seen)
