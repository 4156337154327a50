"""`python -m benchmarks.step`: what MM-TS adds to a training step over a fixed temperature.

Whole steps (forward, loss, backward, AdamW) of the default run's heads on features of frozen
towers: the smallest model that the project trains, so that the share is the largest. In one
process, one round after the other, each with a step of every form in a drawn order; CPU time. The
share is the median of the ratios of two steps of one round, with its 95 % interval by a bootstrap
over the rounds. A fixed temperature is a plain number, the stricter comparison, or MM-TS's own
modulator with one shift and no schedule. The last line is of the omni-modal model, tiny: 16 clips
of 4 frames, a slice of sound and 24 tokens, without matching and with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.cli import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmts.training.batch import Batch
    from mmts.training.step import Stepper
    from mmts.training.tau_and_loss import TauAndLoss

NUMBER, FIXED, MMTS = "a plain number", "fixed by the modulator", "MM-TS"
FORMS = (NUMBER, FIXED, MMTS)
TAU = {"info_nce": 0.07, "max_margin": 0.2}
CLUSTERS, RESAMPLES = 60, 2000
OMNI = ("contrast", "contrast and matching")
DIMS = {"vision": 1280, "text": 384}


def main(
    batch: Annotated[int, typer.Option(min=2, help="Pairs in a step.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after those that warm up.")] = 200,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/step.json"
    ),
) -> None:
    """Time training steps with a fixed temperature and with MM-TS."""
    import numpy as np
    import torch

    from benchmarks.report import bar, bar_table, columns, number
    from mmts.files import write_json

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    bars = []
    for objective in TAU:
        pairs = made(batch)
        steppers = {form: stepper(objective, form) for form in FORMS}
        took = timed(steppers, pairs, rounds)
        call = modulator_call(steppers[MMTS][1], pairs)
        middle = {form: float(np.median(took[form])) for form in FORMS}
        for form in FORMS:
            low, adds, high = interval(took[MMTS] / took[form] - 1)
            rows.append({
                "objective": objective, "form": form, "seconds": middle[form],
                "mmts_adds": adds, "from": low, "to": high,
                "modulator_call": call, "rounds": took[form].tolist(),
            })  # fmt: skip
            if form != MMTS:
                what = f"{objective}: share that MM-TS adds over {form}"
                bars.append(bar(what, adds, "<=", 0.01))
        bars.append(bar(f"{objective}: MM-TS's call over a step with a plain number",
                        call / middle[NUMBER], "<=", 0.01))  # fmt: skip
    lines = [
        (r["objective"], r["form"], number(1e3 * r["seconds"], ".2f"),
         number(100 * r["mmts_adds"], "+.2f"),
         f"{100 * r['from']:+.2f} to {100 * r['to']:+.2f}" if r["form"] != MMTS else "",
         number(1e6 * r["modulator_call"], ".1f") if r["form"] == MMTS else "")
        for r in rows
    ]  # fmt: skip
    print(f"steps of {batch} pairs, CPU, 1 thread, torch {torch.__version__}, {rounds} rounds\n")
    head = ("objective", "tau", "ms/step", "MM-TS adds %", "95 %", "call us")
    print(columns(head, lines, left=2) + "\n")
    print(bar_table(bars))
    omni = omni_steps(1 + rounds // 10)
    alone, both = (float(np.median(omni[form])) for form in OMNI)
    print(
        f"\nomni-modal model: {alone:.3f} s a step, {both:.3f} s with matching ({both / alone:.2f} "
        "times)"
    )
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {"batch": batch, "torch": torch.__version__, "rows": rows, "bars": bars,
                      "omni": {form: took.tolist() for form, took in omni.items()}})  # fmt: skip


def made(batch: int) -> Batch:
    """Random features of the default run's lengths."""
    import torch

    from mmts.training.batch import Batch

    torch.manual_seed(0)
    vision, text = (torch.randn(batch, DIMS[side]) for side in ("vision", "text"))
    return Batch({"features": vision}, text, torch.randint(CLUSTERS, (batch,)), torch.arange(batch))


def stepper(objective: str, form: str) -> tuple[Stepper, TauAndLoss]:
    """What trains the default run's heads; all start from the same weights."""
    import torch

    from mmts.losses import Objective, info_nce, max_margin
    from mmts.settings.towers import Towers
    from mmts.settings.training import Head, Train
    from mmts.towers.two_tower import TwoTower
    from mmts.training.distributed import World
    from mmts.training.step import Stepper
    from mmts.training.tau_and_loss import TauAndLoss

    frozen = {"weights": "unused", "frozen": True}
    towers = Towers.model_validate({
        "vision": {"name": "efficientnet_lite0", "image_size": 160, **frozen},
        "text": {"name": "sentence", **frozen},
    })  # fmt: skip
    head = Head(dim=256, hidden=512, dropout=0.2)
    settings = Train(epochs=1, batch_size=2, learning_rate=2e-3, weight_decay=0.5, head=head)
    torch.manual_seed(0)
    model = TwoTower(towers, head, DIMS).train()
    loss: Objective = info_nce if objective == "info_nce" else max_margin
    world = World(0, 1, torch.device("cpu"), None)
    losses = TauAndLoss(loss, modulator(form, TAU[objective]), world)
    return Stepper(model, losses, settings), losses


def omni_steps(rounds: int) -> dict[str, NDArray[np.float64]]:
    """CPU seconds of steps of the tiny omni-modal model, by form."""
    import torch

    from mmts.kinds.term import TERMS
    from mmts.losses import info_nce
    from mmts.settings.training import Train
    from mmts.training.batch import Batch
    from mmts.training.distributed import World
    from mmts.training.step import Stepper
    from mmts.training.tau_and_loss import TauAndLoss

    torch.manual_seed(0)
    clips, words = 16, 50
    streams = {
        "frames": torch.randint(0, 256, (clips, 4, 3, 32, 32), dtype=torch.uint8),
        "audio": torch.randn(clips, 1, 1024, 64),
        "subtitle": torch.randint(1, words, (clips, 24)),
    }
    text, index = torch.randint(1, words, (clips, 12)), torch.arange(clips)
    pairs = Batch(streams, text, torch.zeros(clips, dtype=torch.int64), index)
    world, settings = World(0, 1, torch.device("cpu"), None), Train(epochs=1, batch_size=2)
    steppers = {}
    for form in OMNI:
        model = omni(words, matching=form == OMNI[1]).train()
        term = TERMS.validated("matching")
        terms = {"matching": (0.1, term.build(model))} if form == OMNI[1] else {}
        losses = TauAndLoss(info_nce, modulator(NUMBER, 0.07), world, terms=terms)
        steppers[form] = Stepper(model, losses, settings), losses
    return timed(steppers, pairs, rounds)


def omni(words: int, *, matching: bool) -> Any:
    """The omni-modal model with the shape `tiny` of all encoders."""
    from mmts.kinds.model import MODELS, Parts
    from mmts.kinds.stream import STREAMS
    from mmts.settings.towers import Towers

    tiny = {"weights": "random", "frozen": False, "shape": "tiny"}
    towers = Towers.model_validate({
        "vision": {"name": "eva_clip", "image_size": 32, "clip_length": 4, **tiny},
        "text": {"name": "bert", **tiny},
    })  # fmt: skip
    streams = {
        "audio": STREAMS.validated("audio"),
        "subtitle": STREAMS.validated({"kind": "text", "column": "subtitle"}),
    }
    settings = {"kind": "omni", "weights": "random", "dim": 32, "audio": {"shape": "tiny"}}
    parts = Parts(towers, None, {"vocabulary": words}, streams, matching)
    return MODELS.validated(settings).build(parts)


def modulator(form: str, tau: float) -> Any:
    """What gives tau: around the same middle in all forms."""
    import numpy as np
    import pandas as pd
    from torch import nn

    from mmts.modulators.scheduled import ScheduledShift

    class Number(nn.Module):
        def forward(self, *_: object) -> float:
            return tau

    if form == NUMBER:
        return Number()
    width = 0.5 if form == MMTS else 0.0
    shift = np.linspace((1 - width / 2) * tau, (1 + width / 2) * tau, CLUSTERS)
    shifts = pd.DataFrame({"cluster_id": range(CLUSTERS), "shift": shift})
    return ScheduledShift(shifts, alpha=2 * width * tau, period=50.0)


def timed(
    steppers: dict[str, tuple[Stepper, TauAndLoss]], pairs: Batch, rounds: int
) -> dict[str, NDArray[np.float64]]:
    """CPU seconds of each form in each round, [rounds]; a tenth of the rounds warms up."""
    import time

    import numpy as np

    rng, warm = np.random.default_rng(0), 1 + rounds // 10
    took = {form: np.empty(warm + rounds) for form in steppers}
    for number in range(warm + rounds):
        for form in rng.permutation(list(steppers)):
            one, losses = steppers[form]
            start = time.process_time()
            _, terms = losses(number, pairs, one.encode(pairs))
            one.optimise(terms["loss"], number, 1e-3)
            took[form][number] = time.process_time() - start
    return {form: seconds[warm:] for form, seconds in took.items()}


def modulator_call(losses: TauAndLoss, pairs: Batch, calls: int = 2000) -> float:
    """Median CPU seconds of the modulator alone."""
    import statistics
    import time

    call: Callable[..., Any] = losses.modulator
    vision = pairs.streams["features"]
    seconds = []
    for number in range(calls):
        start = time.process_time()
        call(number, pairs, vision, pairs.text)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def interval(ratios: NDArray[np.float64]) -> tuple[float, float, float]:
    """Median of the rounds between the ends of its 95 % interval, by a bootstrap."""
    import numpy as np

    drawn = np.random.default_rng(0).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return float(low), float(np.median(ratios)), float(high)


if __name__ == "__main__":
    run(main)
