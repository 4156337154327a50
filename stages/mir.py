"""`python -m stages.evaluate mir`: anybody's scores on EPIC-KITCHENS-100 -> mAP and nDCG.

It is no stage, and `evaluate` loads it by its name, so that an edit of what it reads is none of the
stage.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.cli import run

if TYPE_CHECKING:
    from mmts.metrics.groups import Groups, Metrics
    from mmts.metrics.mir import Values

DIRECTIONS = ("v2t", "t2v", "avg")


def main(
    similarity: Annotated[
        Path, typer.Option(help="Scores, a row a test clip, a column a sentence: .npy or .npz.")
    ],
    annotations: Annotated[
        Path, typer.Option(help="Folder of the official retrieval CSV files.")
    ] = Path("data/raw/ek100"),
    clusters: Annotated[
        Path | None,
        typer.Option(help="A clustering of the cluster stage, for head, medium and tail."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Resamples of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
) -> None:
    """Multi-instance mAP and nDCG of a similarity matrix on EPIC-KITCHENS-100.

    A .npz file holds sim_mat, vis_ids and txt_ids, in any order; a .npy file has the order of
    EPIC_100_retrieval_test.csv and EPIC_100_retrieval_test_sentence.csv.
    """
    from mmts.files import output_file, write_json
    from mmts.metrics.groups import groups_of_names, groups_of_parts
    from mmts.metrics.mir import Ids, query_values, relevancy
    from mmts.metrics.scores import MatrixScores
    from mmts.score_files import clusters_of_captions, read_scores
    from mmts.sources.ek100 import PREFIX, tail_groups
    from mmts.sources.ek100_files import read_tail, read_test

    test, tail = read_test(annotations), read_tail(annotations)
    ids = Ids(*(list(rows["narration_id"]) for rows in test))
    groups = groups_of_names(*(tail_groups(rows, tail) for rows in test[::-1]))
    if clusters is not None:
        parts = (clusters_of_captions(clusters, [PREFIX + name for name in of])[1] for of in ids)
        groups = groups_of_parts(*list(parts)[::-1]) | groups
    clips, sentences = (
        list(zip(rows["verb_class"], rows["noun_classes"], strict=True)) for rows in test
    )
    scores = MatrixScores(read_scores(similarity, ids.v2t, ids.t2v))
    values = query_values(scores, relevancy(clips, sentences), ids)
    found = multi_instance_metrics(values, groups, resamples=bootstrap, seed=seed)
    print(table(found))
    if json is not None:
        with output_file(json) as work:
            write_json(work, found)


def multi_instance_metrics(
    values: "Values", groups: "Groups", *, resamples: int, seed: int
) -> "Metrics":
    """Return mAP and nDCG of all queries and of groups, and how many queries each has.

    The clips and the sentences are drawn anew, independently of each other, as queries.
    """
    from mmts.metrics.groups import group_metrics
    from mmts.metrics.scores import Both

    numbers = {
        name: Both(of.t2v, of.v2t)
        for name, of in (("mAP", values.average_precision), ("nDCG", values.ndcg))
    }
    found = group_metrics(
        numbers, groups, key="{}/{}".format,
        totals={f"{metric}/avg": ((metric,), 0.5) for metric in numbers},
        items=None, resamples=resamples, seed=seed,
    )  # fmt: skip
    for name, metrics in found.items():
        for direction, of in numbers["mAP"]._asdict().items():
            chosen = of if name == "all" else of[getattr(groups[name], direction)]
            metrics[f"queries/{direction}"] = len(chosen)
    return found


def table(found: "Metrics") -> str:
    """The metrics in percent as lines of text, with the intervals of the averages."""
    heads = [f"{metric} {d}" for metric in ("mAP", "nDCG") for d in DIRECTIONS]
    lines = [f"{'queries':<12}{'v2t':>7}{'t2v':>7}" + "".join(f"{head:>10}" for head in heads)]
    for name, metrics in found.items():
        counts = f"{metrics['queries/v2t']:>7.0f}{metrics['queries/t2v']:>7.0f}"
        values = "".join(f"{100 * metrics[head.replace(' ', '/')]:>10.2f}" for head in heads)
        lines.append(f"{name.replace('_', ' '):<12}{counts}{values}")
    for metric in ("mAP", "nDCG"):
        low, high = (100 * found["all"][f"{metric}/avg/{end}"] for end in ("low", "high"))
        lines.append(f"95 % interval of {metric} avg, all queries: {low:.2f} to {high:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
