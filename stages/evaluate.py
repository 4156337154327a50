"""Stage `evaluate`: a trained cell -> recalls, intervals, long-tail breakdown (test split).

`python -m stages.evaluate mir` is no stage: it takes anybody's scores on EPIC-KITCHENS-100.
"""

from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
    seed: Annotated[int, typer.Option(min=0, help="Which of the grid's seeds.")],
) -> None:
    """Evaluate one cell on the test split, on which no other stage fits or selects."""
    from mmts.config import EvaluateStage, load
    from mmts.evaluation import evaluate
    from mmts.files import output_folder, write_json
    from mmts.training.inputs import Inputs
    from mmts.training.loop import encode_split, pick_device
    from mmts.training.saved import load_model

    settings = load(EvaluateStage, dataset=dataset).evaluate
    cell = Path(dataset) / method / str(seed)
    model, towers, tokenizer = load_model(Path("data/train") / cell)
    device = pick_device("auto")
    pairs = Inputs(Path("data"), dataset, towers).pairs("test", tokenizer)
    vision, text = encode_split(
        model.to(device), pairs, device, settings.batch_size, settings.workers
    )
    found = evaluate(vision.numpy(), text.numpy(), pairs, pairs.shards.cluster_size, settings)
    with output_folder(Path("data/evaluate") / cell) as work:
        write_json(work / "metrics.json", found.metrics)
        write_json(work / "retrievals.json", found.retrievals)
        found.queries.to_parquet(work / "queries.parquet", index=False)
    for source, metrics in found.metrics.items():
        print(
            f"{source}: t2v R@1 {100 * metrics['t2v/R@1']:.1f}, v2t R@1 "
            f"{100 * metrics['v2t/R@1']:.1f}, rsum {100 * metrics['rsum']:.1f}"
        )


def mir(
    similarity: Annotated[
        Path, typer.Option(help="Scores, a row a test clip, a column a sentence: .npy or .npz.")
    ],
    annotations: Annotated[
        Path, typer.Option(help="Folder of the official retrieval CSV files.")
    ] = Path("data/raw/ek100"),
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Resamples of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
) -> None:
    """Multi-instance mAP and nDCG of a similarity matrix on EPIC-KITCHENS-100.

    A .npz file holds sim_mat, vis_ids and txt_ids, in any order; a .npy file has the order of
    EPIC_100_retrieval_test.csv and EPIC_100_retrieval_test_sentence.csv.
    """
    from mmts.files import write_json
    from mmts.metrics.mir import relevancy
    from mmts.multi_instance import groups_of_classes, multi_instance_metrics, table
    from mmts.scores import read_scores
    from mmts.sources.ek100_files import read_tail, read_test

    test, tail = read_test(annotations), read_tail(annotations)
    clips, sentences = (
        list(zip(rows["verb_class"], rows["noun_classes"], strict=True)) for rows in test
    )
    scores = read_scores(
        similarity, list(test.clips["narration_id"]), list(test.sentences["narration_id"])
    )
    found = multi_instance_metrics(
        scores, relevancy(clips, sentences),
        groups_of_classes(clips, sentences, tail),
        resamples=bootstrap, seed=seed,
    )  # fmt: skip
    print(table(found))
    if json is not None:
        write_json(json, found)


if __name__ == "__main__":
    run(main, mir=mir)
