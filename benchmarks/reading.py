"""`python -m benchmarks.reading`: pictures a second from shards, ours beside webdataset + Pillow.

In one process, one round after the other, each with every candidate once; medians of CPU time.
All give uint8 tensors [B, 3, S, S] of the same shards' JPEGs; ours in shuffled order, webdataset
in the order of the tar. `decoding alone` is the same decoder on bytes in memory, into the same new
tensors, and is what the bar is set against: a batch has to be new memory, as the one before is
still in use. `into one place` decodes all pictures over one another, into memory that stays in the
processor's cache: no loader can do that, and the row only tells what writing the tensors takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stages.cli import run

OURS, THEIRS, SAME = "ours", "webdataset + Pillow", "webdataset + simplejpeg"
ALONE, HOT = "decoding alone, simplejpeg", "simplejpeg into one place"
PILLOW = "decoding alone, Pillow"
CROP = "ours, random crop and flip"


def main(
    pictures: Annotated[int, typer.Option(min=1, help="Of each size.")] = 2048,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in a tensor.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the one that warms up.")] = 9,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/reading.json"
    ),
) -> None:
    """Read and decode pictures of 64 and 224 pixels a side."""
    import statistics
    import tempfile
    from importlib.metadata import version

    import torch

    from benchmarks import readers
    from benchmarks.measure import interleaved
    from benchmarks.report import bar, bar_table, columns, number
    from mmts.files import write_json

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    bars = []
    for size, faster in ((64, 5), (224, 2)):
        with tempfile.TemporaryDirectory() as folder:
            calls = readers.calls(Path(folder), size, pictures, batch)
            readers.check(calls)
            took = interleaved(calls, rounds, "cpu")
        middle = {form: statistics.median(seconds) for form, seconds in took.items()}
        for form, seconds in middle.items():
            rows.append({
                "size": size, "form": form, "seconds": seconds / pictures,
                "samples_a_second": pictures / seconds,
                "over_webdataset": middle[THEIRS] / seconds, "rounds": took[form],
            })  # fmt: skip
        bars.append(bar(f"{size} px: pictures a second over those of webdataset + Pillow",
                        middle[THEIRS] / middle[OURS], ">=", faster))  # fmt: skip
        if size == 224:
            bars.append(bar("224 px: share of the speed of decoding alone",
                            middle[ALONE] / middle[OURS], ">=", 0.85))  # fmt: skip
    lines = [
        (str(r["size"]), r["form"], number(1e6 * r["seconds"], ".1f"),
         number(r["samples_a_second"], ",.0f"), number(r["over_webdataset"], ".2f"))
        for r in rows
    ]  # fmt: skip
    versions = {name: version(name) for name in ("webdataset", "pillow", "simplejpeg")}
    said = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{pictures} pictures, CPU, 1 thread, {said}, {rounds} rounds\n")
    print(columns(("px", "form", "us", "pictures/s", "of webdataset"), lines, left=2) + "\n")
    print(bar_table(bars))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {
        "pictures": pictures, "batch": batch, "versions": versions, "rows": rows, "bars": bars,
    })  # fmt: skip


if __name__ == "__main__":
    run(main)
