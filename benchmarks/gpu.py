"""`python -m benchmarks.gpu`: what there is to check and to measure on a GPU, in one command.

First that a GPU computes what the CPU does: all objectives, and training steps in parts, compiled
and in bf16. Then training as the pipeline does it, bf16 without gradient checkpointing, with
pictures from shards: CLIP ViT-B/16 with texts of 77 tokens, and ResNet-50 with DistilBERT. Then the
loader without a model. The bars are meant for one H100.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run


class Device(StrEnum):
    """Where to run; the CPU only to try the script."""

    cuda = "cuda"
    cpu = "cpu"


def main(
    pictures: Annotated[int, typer.Option(min=1, help="Made-up photographs.")] = 20_000,
    batch: Annotated[int, typer.Option(min=2, help="Pairs in a step.")] = 512,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 3,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode. [default: a core each]")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.cuda,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Small models, 32 px, 64 pictures: to try the script.")
    ] = False,
    skip_compile: Annotated[
        bool, typer.Option("--skip-compile", help="Without torch.compile.")
    ] = False,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/gpu.json"
    ),
) -> None:
    """Check and measure training on a GPU."""
    import os
    import tempfile

    import torch

    from mmts.errors import InputError

    if device == Device.cuda and not torch.cuda.is_available():
        raise InputError(
            "benchmarks.gpu needs a CUDA device and torch sees none; run it where one is"
        )

    from benchmarks import gpu_checks, gpu_runs
    from benchmarks.report import bar_table, columns, number
    from mmts.files import write_json

    sizes = gpu_runs.Sizes(pictures, batch, epochs, workers or len(os.sched_getaffinity(0)))
    if tiny:
        sizes = gpu_runs.Sizes(64, 16, 1, 1)
    cases = gpu_runs.cases(tiny)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        reader = gpu_runs.packed(Path(folder), cases[0].towers.vision.image_size, sizes)
        bars = gpu_checks.checks(torch.device(device), not skip_compile)
        print(bar_table(bars) + "\n")
        for case in cases:
            pairs = gpu_runs.pairs_of(case, reader)
            forms = (False,) if skip_compile else (False, True)
            found = [gpu_runs.trained(case, pairs, sizes, device, form) for form in forms]
            bars += gpu_runs.bars(case, found)
            rows += found
        rows += [gpu_runs.loaded(name, pairs, sizes, device) for name in gpu_runs.AUGMENTED]
    lines = [
        (r["what"] + (", compiled" if r.get("compiled") else ""), str(r["batch"]),
         number(r["samples_per_second"], ",.0f"),
         number(r.get("data_wait"), ".2%"), number(r.get("mfu"), ".1%"),
         number(r["peak_bytes"] / 1e9 if r.get("peak_bytes") else None, ".1f"))
        for r in rows
    ]  # fmt: skip
    name = torch.cuda.get_device_name() if device == Device.cuda else "CPU: the bars mean nothing"
    print(f"{name}, torch {torch.__version__}, {sizes.workers} workers\n")
    print(columns(("what", "batch", "samples/s", "data wait", "MFU", "peak GB"), lines, 1) + "\n")
    print(bar_table(bars))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {
        "device": name, "torch": torch.__version__, **sizes._asdict(), "tiny": tiny,
        "rows": rows, "bars": bars,
    })  # fmt: skip


if __name__ == "__main__":
    run(main)
