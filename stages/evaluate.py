"""Stage `evaluate`: a trained cell -> recalls or mAP and nDCG, with intervals (test split).

`python -m stages.evaluate mir` is no stage: it takes anybody's scores on EPIC-KITCHENS-100.
"""

from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
) -> None:
    """Evaluate each seed on the test split, on which no other stage fits or selects."""
    from mmts.evaluation import evaluate, summary
    from mmts.files import require, write_json
    from mmts.kept import Kept
    from mmts.planned import Planned
    from mmts.settings.training import Evaluate
    from mmts.training.device import pick_device
    from mmts.training.inputs import Inputs
    from mmts.training.saved import load_model
    from mmts.training.validation import encode_split

    data = Path("data")
    trained = data / "train" / dataset / method
    others = [data / "embed" / dataset, data / "shards" / dataset]
    plan = Planned("evaluate", dataset=dataset, method=method, inputs=[*others, trained])
    settings = plan.settings("evaluate", Evaluate)
    seeds = plan.settings("seeds", tuple[int, ...])
    device, opened = pick_device("auto"), None
    with plan, plan.output(data / "evaluate" / dataset / method, sums=False) as folder:
        for seed in seeds:
            cell = ("evaluate", dataset, method)
            kept = Kept(plan, cell, [*others, require(trained / str(seed), "run `dvc repro`")])
            with kept.turn(seed):
                if not kept.has(seed):
                    model, towers, tokenizer = load_model(trained / str(seed))
                    if opened is None or tokenizer is not None:
                        opened = Inputs(data, dataset, towers).pairs("test", tokenizer)
                    pairs = opened
                    vision, text = encode_split(
                        model.to(device), pairs, device, settings.batch_size, settings.workers
                    )
                    sizes = pairs.shards.cluster_size
                    found = evaluate(vision.numpy(), text.numpy(), pairs, sizes, settings)
                    with kept.new(seed) as work:
                        plan.check()
                        write_json(work / "metrics.json", found.metrics)
                        write_json(work / "retrievals.json", found.retrievals)
                        found.queries.to_parquet(work / "queries.parquet", index=False)
                    for source, metrics in found.metrics.items():
                        print(f"seed {seed}, {source}: {summary(metrics)}")
            kept.put(seed, folder / str(seed))


def mir(
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
    from mmts.scores import parts_of_captions, read_scores
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
    run(main, mir=mir)
