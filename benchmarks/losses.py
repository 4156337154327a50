"""`python -m benchmarks.losses`: forward and backward of both losses, timed side by side.

In one process, one round after the other, each with every candidate once; medians. On the CPU
that is the CPU time of one thread, on CUDA the time between two events.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run


class Dtype(StrEnum):
    """Types of features."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Device(StrEnum):
    """Where to run; auto takes CUDA where there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def main(
    n: Annotated[int, typer.Option(min=2, help="Pairs in the batch.")] = 4096,
    d: Annotated[int, typer.Option(min=1, help="Numbers in a row of features.")] = 256,
    dtype: Annotated[Dtype, typer.Option(help="Type of the features.")] = Dtype.float32,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the one that warms up.")] = 5,
    json: Annotated[
        Path | None, typer.Option(help="[default: benchmarks/results/losses-<device>.json]")
    ] = None,
    skip_straightforward: Annotated[
        bool, typer.Option("--skip-straightforward", help="Where N x N forms do not fit.")
    ] = False,
) -> None:
    """Time both losses and measure their memory: ours, the N x N forms, the bare products."""
    import torch

    from benchmarks import candidates, report
    from benchmarks.measure import interleaved, peak_extra
    from mmts.errors import InputError
    from mmts.files import write_json

    there = torch.cuda.is_available()
    if device == Device.cuda and not there:
        raise InputError("device is cuda, but torch sees none; use --device cpu")
    on = "cuda" if there and device != Device.cpu else "cpu"
    torch.set_num_threads(1)
    vision, text = candidates.features(n, d, getattr(torch, dtype), on)
    calls = candidates.calls(vision, text, skip_straightforward)
    try:
        took = interleaved(calls, rounds, on)
        differentiated = [case for case in calls if case.form != candidates.FLOOR]
        extra = {case: peak_extra(calls[case], on) for case in differentiated}
    except RuntimeError as error:  # also what torch raises where it gets no memory
        if "memory" not in str(error) or skip_straightforward:
            raise
        took = {}
    if not took:  # raised here, as an error with its own remedy
        raise InputError(f"n is {n}: no memory for N x N; pass --skip-straightforward")
    calls.clear()
    small = min(n, 1100)  # several blocks, the last one short
    disagreement = {
        loss: candidates.disagreement(loss, small, d, on) for loss in candidates.PRODUCTS
    }
    rows = report.rows(took, extra, n, d)
    bars = report.bars(rows, disagreement, n, on)
    name = torch.cuda.get_device_name() if on == "cuda" else "CPU, 1 thread"
    print(f"N = {n}, D = {d}, {dtype}, {name}, torch {torch.__version__}, {rounds} rounds\n")
    print(report.measured_table(rows) + "\n")
    print(report.bar_table(bars))
    print(f"\nThe bars are meant for {report.MEANT_FOR[on]}; tau is [N].")
    path = json or Path(f"benchmarks/results/losses-{on}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {
        "n": n, "d": d, "dtype": str(dtype), "device": on, "device_name": name,
        "torch": torch.__version__, "disagreement_n": small, "rows": rows, "bars": bars,
    })  # fmt: skip


if __name__ == "__main__":
    run(main)
