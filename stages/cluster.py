"""Stage `cluster`: caption vectors or class columns -> cluster_id and cluster_size."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
) -> None:
    """Write one table for each named clustering; `default` goes into the shards."""
    from pathlib import Path

    import numpy as np

    from mmts.captions_table import read_captions
    from mmts.cluster import check_found
    from mmts.embeddings import check_embedded, read_embeddings
    from mmts.files import write_json
    from mmts.kinds.clustering import Clustering
    from mmts.planned import Planned

    folder, embedded = Path("data/captions") / dataset, Path("data/embed") / dataset
    with (
        Planned("cluster", dataset=dataset, inputs=[folder, embedded]) as plan,
        plan.output(Path("data/cluster") / dataset) as work,
    ):
        captions, embeddings = read_captions(folder), read_embeddings(embedded)
        check_embedded(captions, embedded, embeddings.caption_text, embeddings.vision)
        for name, clustering in plan.settings("clusterings", dict[str, Clustering]).items():
            found = check_found(clustering.cluster(captions, embeddings), clustering, captions)
            found.table.to_parquet(work / f"{name}.parquet", index=False)
            write_json(work / f"{name}.json", found.facts)
            if found.centroids is not None:
                np.save(work / f"{name}.npy", found.centroids)
            size = found.table.groupby("cluster_id")["cluster_size"].first()
            k, noise = found.facts["k"], found.facts["noise"]
            size = size[list(range(k))]
            told = f"; {noise} are noise, each a cluster of its own" if noise else ""
            print(
                f"{name}: {k} clusters of {size.min()} to {size.max()} training captions, median "
                f"{size.median():g}{told}"
            )


if __name__ == "__main__":
    run(main)
