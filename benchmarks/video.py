"""`python -m benchmarks.video`: clips a second from stored segments, ours beside plain PyAV.

In one process, one round after the other, each with every candidate once; medians of CPU time.
Every candidate decodes the same frames of the same segments to [T, H, W, 3]; ours and plain PyAV
read them from a packed shard.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stages.cli import run


def main(
    segments: Annotated[int, typer.Option(min=1, help="Segments of the video.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of a segment.")] = 4,
    clip_length: Annotated[int, typer.Option(min=1, help="Frames in a clip.")] = 16,
    short_side: Annotated[int, typer.Option(min=16, help="Of the stored frames.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the one that warms up.")] = 9,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/video.json"
    ),
) -> None:
    """Cut a made video into segments and decode clips of them: ours, and plain PyAV."""
    import statistics
    import tempfile

    import av

    from benchmarks import clips
    from benchmarks.measure import interleaved
    from benchmarks.report import bar, bar_table, columns, number
    from mmts.files import write_json

    with tempfile.TemporaryDirectory() as folder:
        stored = clips.store(Path(folder), segments, seconds, short_side)
        calls = clips.calls(stored, clip_length)
        clips.check(calls)
        took = interleaved({form: call.run for form, call in calls.items()}, rounds, "cpu")
    rows: list[dict[str, Any]] = []
    plain = statistics.median(took[clips.PLAIN])
    for form, call in calls.items():
        middle = statistics.median(took[form])
        rows.append({
            "form": form, "stored_as": call.stored_as, "seconds": middle / segments,
            "clips_a_second": segments / middle, "of_plain": plain / middle,
            "kilobytes_a_frame": call.stored_bytes / call.stored_frames / 1000,
            "rounds": took[form],
        })  # fmt: skip
    lines = [
        (r["form"], r["stored_as"], number(r["kilobytes_a_frame"], ".1f"),
         number(1000 * r["seconds"], ".2f"), number(r["clips_a_second"], ".1f"),
         number(r["of_plain"], ".2f"))
        for r in rows
    ]  # fmt: skip
    head = ("form", "stored as", "KB/frame", "ms/clip", "clips/s", "of plain")
    ours = next(r for r in rows if r["form"] == clips.OURS)
    bars = [bar("clips a second over those of plain PyAV", ours["of_plain"], ">=", 0.9)]
    width, height = stored.size
    print(
        f"{segments} segments of {seconds:g} s, {clip_length} of {stored.frames} frames of "
        f"{width} x {height}, CPU, 1 thread, PyAV {av.__version__}, {rounds} rounds\n"
    )
    print(columns(head, lines, left=2) + "\n")
    print(bar_table(bars))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {
        "segments": segments, "seconds": seconds, "clip_length": clip_length,
        "size": [width, height], "frames": stored.frames, "av": av.__version__,
        "rows": rows, "bars": bars,
    })  # fmt: skip


if __name__ == "__main__":
    run(main)
