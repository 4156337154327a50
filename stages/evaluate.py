"""Stage `evaluate`: a trained cell -> recalls, intervals, long-tail breakdown (test split)."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
    seed: Annotated[int, typer.Option(min=0, help="Which of the grid's seeds.")],
) -> None:
    """Evaluate one cell on the test split, on which no other stage fits or selects."""
    from pathlib import Path

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
    vision, text = encode_split(model.to(device), pairs, device, settings.batch_size)
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


if __name__ == "__main__":
    run(main)
