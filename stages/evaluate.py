"""Stage `evaluate`: a trained cell -> recalls or another measure, with intervals (test split).

`python -m stages.evaluate recall`, and `mir` for EPIC-KITCHENS-100, are no stages: they take
anybody's scores.
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
    from mmts.evaluation import evaluate
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
                    model, towers, tokenizer, streams, kind = load_model(trained / str(seed))
                    if opened is None or tokenizer is not None:
                        inputs = Inputs(data, dataset, towers, streams=streams, kind=kind)
                        opened = inputs.pairs("test", tokenizer)
                    pairs = opened
                    vision, text = encode_split(
                        model.to(device), pairs, device, settings.batch_size, settings.workers
                    )
                    sizes = pairs.shards.cluster_size
                    found = evaluate(vision.numpy(), text.numpy(), pairs, sizes, settings, model)
                    with kept.new(seed) as work:
                        plan.check()
                        write_json(work / "measure.json", found.judges)
                        write_json(work / "metrics.json", found.metrics)
                        write_json(work / "retrievals.json", found.retrievals)
                        found.queries.to_parquet(work / "queries.parquet", index=False)
                    for source in found.metrics:
                        print(f"seed {seed}, {source}: {found.told(source)}")
            kept.put(seed, folder / str(seed))


if __name__ == "__main__":
    run(main, mir="stages.mir", recall="stages.recall")
