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
    from mmts.files import output_folder, read_parquet, write_json
    from mmts.losses import objective
    from mmts.modulators import ScheduledShift
    from mmts.towers.tokens import train_tokenizer
    from mmts.towers.two_tower import TwoTower
    from mmts.training.data import steps_per_epoch
    from mmts.training.inputs import Inputs
    from mmts.training.log import RunLog
    from mmts.training.loop import train
    from mmts.training.saved import save_model

    settings = load(TrainStage, dataset=dataset, method=method)
    shift = Path("data/shift") / dataset / method
    shifts = read_parquet(shift / "shift.parquet", "run `dvc repro` from the shift stage on")
    other = shift / "clusters.parquet"
    clusters = read_parquet(other) if other.exists() else None
    inputs = Inputs(Path("data"), dataset, settings.towers)
    tokenizer = None
    if not settings.towers.text.frozen:
        tokenizer = train_tokenizer(inputs.captions("train"))
        inputs.dims["vocabulary"] = tokenizer.get_vocab_size()
    pairs = inputs.pairs("train", tokenizer, clusters)
    held_out = inputs.pairs("val", tokenizer)
    steps = settings.train.epochs * steps_per_epoch(len(pairs), settings.train.batch_size)
    period = steps / settings.method.oscillations
    modulator = ScheduledShift(shifts, alpha=settings.method.alpha, period=period)
    modulator.check(pairs.cluster_id)
    torch.manual_seed(seed)
    model = TwoTower(settings.towers, settings.train.head, inputs.dims)
    with output_folder(Path("data/train") / dataset / method / str(seed)) as work:
        with RunLog(work) as log:
            trained = train(
                model, objective(settings.method.objective), modulator, pairs, held_out,
                settings.train, seed, log,
            )  # fmt: skip
        save_model(work, model, settings.towers, settings.train.head, inputs.dims, tokenizer)
        write_json(work / "metrics.json", trained.metrics)
        write_json(work / "run.json", {
            "dataset": dataset, "method": method, "seed": seed, **settings.method.model_dump(),
            "epochs": settings.train.epochs, "batch_size": settings.train.batch_size,
            "total_steps": trained.total_steps, "period": period,
        })  # fmt: skip
    print(
        f"{trained.total_steps} steps in {trained.seconds:.1f} s, "
        f"{trained.samples_per_second:,.0f} samples/s, validation rsum "
        f"{100 * trained.metrics['val/rsum']:.1f}"
    )


if __name__ == "__main__":
    run(main)
