"""`python -m stages.evaluate mir`: anybody's scores on EPIC-KITCHENS-100 -> mAP and nDCG.

It is no stage, and `evaluate` loads it by its name, so that an edit of what it reads is none of the
stage.
"""

from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run


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
    from mmts.metrics.mir import relevancy
    from mmts.multi_instance import (
        Ids,
        groups_of_names,
        groups_of_parts,
        multi_instance_metrics,
        query_values,
        table,
    )
    from mmts.score_files import parts_of_captions, read_scores
    from mmts.sources.ek100 import PREFIX, tail_groups
    from mmts.sources.ek100_files import read_tail, read_test

    test, tail = read_test(annotations), read_tail(annotations)
    ids = Ids(*(list(rows["narration_id"]) for rows in test))
    groups = groups_of_names(*(tail_groups(rows, tail) for rows in test))
    if clusters is not None:
        names = ([PREFIX + name for name in of] for of in ids)
        groups = groups_of_parts(*(parts_of_captions(clusters, of) for of in names)) | groups
    clips, sentences = (
        list(zip(rows["verb_class"], rows["noun_classes"], strict=True)) for rows in test
    )
    values = query_values(
        read_scores(similarity, ids.v2t, ids.t2v), relevancy(clips, sentences), ids
    )
    found = multi_instance_metrics(values, groups, resamples=bootstrap, seed=seed)
    print(table(found))
    if json is not None:
        with output_file(json) as work:
            write_json(work, found)


if __name__ == "__main__":
    run(main)
