"""`python -m stages.evaluate recall`: anybody's scores on the test split of a dataset -> recalls.

It is no stage, and `evaluate` loads it by its name, so that an edit of what it reads is none of the
stage.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.cli import run

if TYPE_CHECKING:
    from mmts.metrics.groups import Metrics


def main(
    similarity: Annotated[
        Path, typer.Option(help="Scores, a row a test item, a column a caption: .npy or .npz.")
    ],
    captions: Annotated[
        Path, typer.Option(help="Folder of the captions stage: data/captions/DATASET.")
    ],
    source: Annotated[
        str | None, typer.Option(help="Which source, where the test split has several.")
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option(help="A clustering of the cluster stage, for head, medium and tail."),
    ] = None,
    k: Annotated[
        list[int] | None, typer.Option(min=1, help="A cut-off beside 1, 5 and 10; or several.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Resamples of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
) -> None:
    """Recalls and rsum of a similarity matrix on the test split of a dataset.

    A .npz file holds sim_mat, vis_ids (sample_id) and txt_ids (caption_id), in any order; a .npy
    file has the order of captions.parquet.
    """
    import numpy as np
    import pandas as pd

    from mmts.captions_table import read_captions
    from mmts.errors import InputError, known
    from mmts.files import output_file, write_json
    from mmts.kinds.measure import MEASURES
    from mmts.metrics.groups import group_metrics, groups_of_parts
    from mmts.metrics.longtail import item_cluster
    from mmts.metrics.recall import KS, ranks_of
    from mmts.metrics.scores import Both, MatrixScores
    from mmts.score_files import clusters_of_captions, read_scores

    rows = read_captions(captions)
    rows = rows[rows["split"] == "test"]
    sources = list(rows["source"].unique())
    if source is None and len(sources) == 1:
        source = sources[0]
    if source not in sources:
        raise InputError(f"--source is {source}; {known(str(source), sources)}")
    rows = rows[rows["source"] == source]
    items = list(dict.fromkeys(rows["sample_id"]))
    owner = pd.Index(items).get_indexer(pd.Index(rows["sample_id"]))
    scores = MatrixScores(
        read_scores(similarity, items, list(rows["caption_id"]), words=("picture", "caption"))
    )
    ks = sorted({*KS, *(k or ())})
    measure = MEASURES.validated({"kind": "recall", "ks": ks})
    ranks = Both(*ranks_of(scores, owner))
    numbers = [measure.numbers({"rank": of}) for of in ranks]
    groups: dict[str, Both] = {}
    if clusters is not None:
        cluster, parts = clusters_of_captions(clusters, list(rows["caption_id"]))
        part_of = dict(zip(cluster, parts, strict=True))
        own = pd.Series(cluster).groupby(owner).agg(lambda found: item_cluster(list(found)))
        groups = groups_of_parts(parts, [part_of[c] for c in own.sort_index()])
    found = group_metrics(
        {metric: Both(numbers[0][metric], numbers[1][metric]) for metric in numbers[0]}, groups,
        key=measure.key, totals=measure.totals, items=Both(owner, np.arange(len(items))),
        resamples=bootstrap, seed=seed,
    )  # fmt: skip
    for name, metrics in found.items():
        for direction, of in ranks._asdict().items():
            chosen = of if name == "all" else of[getattr(groups[name], direction)]
            metrics |= measure.counts(pd.DataFrame({"rank": chosen}), direction)
    print(table(found, ks))
    if json is not None:
        with output_file(json) as work:
            write_json(work, found)


def table(found: "Metrics", ks: list[int]) -> str:
    """The metrics in percent as lines of text, with the interval of rsum."""
    keys = [f"{direction}/R@{k}" for direction in ("t2v", "v2t") for k in ks]
    heads = [key.replace("/", " ") for key in keys]
    lines = [f"{'queries':<9}{'t2v':>7}{'v2t':>7}" + "".join(f"{h:>10}" for h in (*heads, "rsum"))]
    for name, metrics in found.items():
        counts = f"{metrics['t2v/queries']:>7.0f}{metrics['v2t/queries']:>7.0f}"
        values = "".join(f"{100 * metrics[key]:>10.2f}" for key in keys)
        lines.append(f"{name:<9}{counts}{values}{metrics['rsum']:>10.2f}")
    low, high = (found["all"][f"rsum/{end}"] for end in ("low", "high"))
    lines.append(f"95 % interval of rsum, all queries: {low:.2f} to {high:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
