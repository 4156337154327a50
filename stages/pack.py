"""Stage `pack`: pictures or clips, streams, captions and cluster IDs -> WebDataset shards."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
) -> None:
    """Write the shards of all splits, with a manifest and an index.

    Packing videos can be interrupted: run again, it goes on after the last finished video.
    """
    import shutil
    from pathlib import Path

    from mmts.captions_table import read_captions
    from mmts.clusters import read_clusters
    from mmts.files import cache_folder, read_parquet
    from mmts.kinds.stream import Stream
    from mmts.planned import Planned
    from mmts.settings.prepared import Pack
    from mmts.shards import (
        cluster_sizes,
        empty_lines,
        items,
        short_clips,
        write_clips,
        write_shards,
    )
    from mmts.shards.items import try_streams

    folder = Path("data/captions") / dataset
    path = Path("data/cluster") / dataset / "default.parquet"
    output = Path("data/shards") / dataset
    with (
        Planned("pack", dataset=dataset, inputs=[folder, path]) as plan,
        plan.output(output) as work,
    ):
        kept = cache_folder("pack") / dataset / plan.digest[:16]
        settings = plan.settings("pack", Pack)
        streams = plan.settings("streams", dict[str, Stream])
        captions, clusters = read_captions(folder), read_clusters(path, "run `dvc repro`")
        columns = [kind.column for kind in streams.values() if kind.column is not None]
        found, sizes = items(captions, clusters, columns), cluster_sizes(clusters)
        try_streams(found[0], streams)
        if "start" in captions:
            manifest = write_clips(work, found, sizes, settings, kept, streams)
        else:
            manifest = write_shards(work, found, sizes, settings, streams)
    shutil.rmtree(kept, ignore_errors=True)
    tars = f" and {len(manifest['tars'])} tars in place" if "tars" in manifest else ""
    print(f"{len(manifest['shards'])} shards{tars}: {manifest['samples']}")
    for length in (4, 16):  # the towers' clip_length is not known here; `train` tells of it
        if line := short_clips(manifest, length):
            print(line)
    for line in empty_lines(manifest, streams, output):
        print(line)
    lost = manifest.get("clips", {}).get("lost", 0)
    if lost:
        videos = read_parquet(output / "lost.parquet")["media"].nunique()
        print(f"{lost} clips of {videos} videos lost (listed in {output / 'lost.parquet'})")


if __name__ == "__main__":
    run(main)
