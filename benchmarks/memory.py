"""`python -m benchmarks.memory`: do both losses run in a bounded memory, and do the N x N forms?

On the CPU, in a process of its own that may not have more than the limit of memory to write to
(RLIMIT_DATA, which Linux holds private mappings to, touched or not; RLIMIT_AS would count the
libraries' code as well).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stages.cli import run


def main(
    n: Annotated[int, typer.Option(min=2, help="Pairs in the batch.")] = 32768,
    d: Annotated[int, typer.Option(min=1, help="Numbers in a row of features.")] = 512,
    gb: Annotated[float, typer.Option(min=0.5, help="The limit in GB; torch takes 0.3.")] = 4,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/memory.json"
    ),
) -> None:
    """Run forward and backward of both losses, float32, under a memory limit."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    from benchmarks.report import columns, number
    from mmts.errors import InputError
    from mmts.files import write_json

    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        try:
            rows = pool.submit(attempt, n, d, int(gb * 1e9)).result()
        except BrokenProcessPool:
            raise InputError(f"n is {n}: the process was killed; lower n or gb") from None
    print(f"N = {n}, D = {d}, float32, CPU, 1 thread, at most {gb:g} GB\n")
    lines = [
        (
            row["loss"], row["form"], "yes" if row["runs"] else "NO", number(row["seconds"], ".1f"),
            number(row["resident_bytes"] and row["resident_bytes"] / 1e9, ".2f"),
        )
        for row in rows
    ]  # fmt: skip
    print(columns(("loss", "form", "runs", "CPU s", "resident GB"), lines, left=2))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {"n": n, "d": d, "limit_bytes": int(gb * 1e9), "rows": rows})


def attempt(n: int, d: int, limit: int) -> list[dict[str, Any]]:
    """Limit this process for good and try each loss in each form, tau [N].

    Returns:
        A row each: whether it runs, CPU seconds, and the resident memory of the whole process at
        the peak, None where Linux does not tell.
    """
    import resource
    import time

    import torch

    from benchmarks.candidates import DENSE, EACH, FORMS, Case, features, forward_backward
    from benchmarks.measure import peak_resident

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    vision, text = features(n, d, torch.float32, "cpu")
    rows = []
    for loss, form in FORMS:
        if form == DENSE:
            continue
        call = forward_backward(Case(loss, form, EACH), vision, text)
        row = {"loss": loss, "form": form, "runs": False, "seconds": None, "resident_bytes": None}
        start = time.process_time()
        try:
            _, row["resident_bytes"] = peak_resident(call)
            row |= {"runs": True, "seconds": time.process_time() - start}
        except RuntimeError as error:  # what torch raises where it gets no memory
            if "allocate memory" not in str(error):
                raise
        rows.append(row)
    return rows


if __name__ == "__main__":
    run(main)
