"""`python -m benchmarks.packing`: pictures a second into shards, ours beside webdataset's writer.

In one process, one round after the other, each with every candidate once; medians of CPU time.
Both read the same files and write the same members. Ours also compares each file's SHA-256 with
that of the captions stage, hashes the shards, and writes the index and the manifest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stages.cli import run

OURS, THEIRS = "ours", "webdataset.ShardWriter"


def main(
    pictures: Annotated[int, typer.Option(min=1, help="Of each size.")] = 4000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the one that warms up.")] = 7,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/packing.json"
    ),
) -> None:
    """Pack pictures of 64 and 224 pixels a side."""
    import statistics
    import tempfile

    import webdataset

    from benchmarks.measure import interleaved
    from benchmarks.pictures import items
    from benchmarks.report import bar, bar_table, columns, number
    from mmts.files import write_json

    rows: list[dict[str, Any]] = []
    bars = []
    for size in (64, 224):
        with tempfile.TemporaryDirectory() as folder:
            found = items(Path(folder) / "files", size, pictures)
            forms = {form: Path(folder) / form for form in (OURS, THEIRS)}
            calls = {OURS: lambda: ours(forms[OURS], found),  # noqa: B023 - used here at once
                     THEIRS: lambda: theirs(forms[THEIRS], found)}  # noqa: B023  # fmt: skip
            took = interleaved(calls, rounds, "cpu")
            check(forms[OURS], forms[THEIRS], pictures)
        middle = {form: statistics.median(took[form]) / pictures for form in forms}
        for form in forms:
            rows.append({
                "size": size, "form": form, "seconds": middle[form],
                "samples_a_second": 1 / middle[form], "rounds": took[form],
            })  # fmt: skip
        bars.append(
            bar(f"{size} px: samples a CPU-second over those of webdataset.ShardWriter",
                middle[THEIRS] / middle[OURS], ">=", 2)
        )  # fmt: skip
    lines = [
        (str(r["size"]), r["form"], number(1e6 * r["seconds"], ".1f"),
         number(r["samples_a_second"], ",.0f"))
        for r in rows
    ]  # fmt: skip
    print(f"{pictures} pictures, CPU, 1 thread, webdataset {webdataset.__version__}\n")
    print(columns(("px", "form", "us/sample", "samples/s"), lines, left=2) + "\n")
    print(bar_table(bars))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {
        "pictures": pictures, "webdataset": webdataset.__version__, "rows": rows, "bars": bars,
    })  # fmt: skip


SHARD_SIZE = 1000


def ours(folder: Path, found: list[Any]) -> None:
    """As the stage `pack` does."""
    import os
    import shutil
    from contextlib import redirect_stderr

    from mmts.settings.prepared import Pack
    from mmts.shards import write_shards

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        write_shards(folder, found, {0: 1}, Pack(shard_size=SHARD_SIZE))


def theirs(folder: Path, found: list[Any]) -> None:
    """The same members by webdataset."""
    import shutil

    from webdataset import ShardWriter

    from mmts.shards.items import sample_of

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pattern = str(folder / "train-%06d.tar")
    with ShardWriter(pattern, maxcount=SHARD_SIZE, verbose=0) as writer:
        for number, item in enumerate(found):
            data = Path(item.media).read_bytes()
            writer.write({"__key__": f"{number:08d}", "jpg": data, "json": sample_of(item)})


def check(mine: Path, other: Path, samples: int) -> None:
    """An AssertionError where stock webdataset does not read the same from both."""
    import json

    from webdataset import WebDataset

    read = [
        [(s["__key__"], s["jpg"], json.loads(s["json"])) for s in WebDataset(urls, shardshuffle=0)]
        for urls in (sorted(map(str, folder.glob("*.tar"))) for folder in (mine, other))
    ]
    assert read[0] == read[1] and len(read[0]) == samples, "the two wrote other samples"


if __name__ == "__main__":
    run(main)
