"""Stage `pack`: pictures, captions and cluster IDs -> WebDataset shards."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
) -> None:
    """Write the shards of all splits, with a manifest and an index."""
    from pathlib import Path

    from mmts.captions import read_captions
    from mmts.config import PackStage, load
    from mmts.files import output_folder, read_parquet
    from mmts.shards import cluster_sizes, items, write_shards

    settings = load(PackStage, dataset=dataset)
    captions = read_captions(Path("data/captions") / dataset)
    path = Path("data/cluster") / dataset / "default.parquet"
    clusters = read_parquet(path, "run `dvc repro` from the cluster stage on")
    with output_folder(Path("data/shards") / dataset) as work:
        found = items(captions, clusters)
        manifest = write_shards(work, found, cluster_sizes(clusters), settings.pack)
    print(f"{len(manifest['shards'])} shards: {manifest['samples']}")


if __name__ == "__main__":
    run(main)
