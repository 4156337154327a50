"""Stage `train`: one cell (dataset x method x seed) -> a trained model and its curves."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of initialisation, order and augmentation.")
    ],
) -> None:
    """Train a two-tower model; look at the validation split alone."""
    from pathlib import Path

    import torch

    from mmts.config import TrainStage, load
    from mmts.files import output_folder, read_json, read_parquet, write_json
    from mmts.towers.two_tower import TwoTower
    from mmts.training.build import build_modulator, build_objective, period
    from mmts.training.data import steps_per_epoch
    from mmts.training.inputs import Inputs
    from mmts.training.log import RunLog
    from mmts.training.loop import train
    from mmts.training.saved import save_model, save_state

    settings = load(TrainStage, dataset=dataset, method=method)
    how = settings.method
    if how.auto:
        print(how.auto)
    shift = Path("data/shift") / dataset / method
    shifts = read_parquet(shift / "shift.parquet", "run `dvc repro` from the shift stage on")
    other = shift / "clusters.parquet"
    clusters = read_parquet(other) if other.exists() else None
    inputs = Inputs(Path("data"), dataset, settings.towers)
    tokenizer = inputs.tokenizer()
    pairs = inputs.pairs("train", tokenizer, clusters)
    samples = read_json(inputs.shards / "manifest.json")["samples"]
    held_out = inputs.pairs("val", tokenizer) if samples["val"] else None
    print(f"global batch {settings.train.batch_size} (1 process)")
    steps = settings.train.epochs * steps_per_epoch(len(pairs), settings.train.batch_size)
    torch.manual_seed(seed)
    model = TwoTower(settings.towers, settings.train.head, inputs.dims)
    objective = build_objective(how, len(pairs))
    modulator = build_modulator(
        how, shifts, pairs, total_steps=steps, epochs=settings.train.epochs, dim=model.dim,
    )  # fmt: skip
    with output_folder(Path("data/train") / dataset / method / str(seed)) as work:
        with RunLog(work) as log:
            trained = train(
                model, objective, modulator, pairs, held_out, settings.train, seed, log,
                how.relevancy_threshold,
            )  # fmt: skip
        save_model(work, model, settings.towers, settings.train.head, inputs.dims, tokenizer)
        save_state(work, objective, modulator)
        write_json(work / "metrics.json", trained.metrics)
        write_json(work / "run.json", {
            "dataset": dataset, "method": method, "seed": seed, **how.numbers(),
            "epochs": settings.train.epochs, "batch_size": settings.train.batch_size,
            "global_batch_size": settings.train.batch_size,
            "total_steps": trained.total_steps, "period": period(how, steps),
        })  # fmt: skip
    print(
        f"{trained.total_steps} steps in {trained.seconds:.1f} s, "
        f"{trained.samples_per_second:,.0f} samples/s" + validation(trained.metrics)
    )


def validation(metrics: dict[str, float]) -> str:
    """The end of the last line: the validation metrics, or that there are none."""
    names = {"val/rsum": "rsum", "val/mAP/avg": "mAP", "val/nDCG/avg": "nDCG"}
    found = [f"{name} {100 * metrics[key]:.1f}" for key, name in names.items() if key in metrics]
    return f", validation {', '.join(found)}" if found else ", no validation split"


if __name__ == "__main__":
    run(main)
