"""Stage `train`: one cell (dataset x method x seed) -> a trained model and its curves."""

from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of initialisation, order and augmentation.")
    ],
    resume: Annotated[
        Path | None, typer.Option(help="A checkpoint; else the newest of the same settings.")
    ] = None,
) -> None:
    """Train a two-tower model; look at the validation split alone."""
    from contextlib import ExitStack

    import torch

    from mmts.config import TrainStage, load
    from mmts.files import output_folder, read_json, read_parquet, write_json
    from mmts.towers.two_tower import TwoTower
    from mmts.training.batches import steps_per_epoch
    from mmts.training.build import build_modulator, build_objective, period
    from mmts.training.checkpoint import Checkpoints
    from mmts.training.distributed import joined
    from mmts.training.fingerprint import facts, input_files
    from mmts.training.inputs import Inputs
    from mmts.training.log import RunLog
    from mmts.training.loop import pick_device, train
    from mmts.training.saved import save_model, save_state

    settings = load(TrainStage, dataset=dataset, method=method)
    launch(settings.train.launcher)
    how = settings.method
    shift = Path("data/shift") / dataset / method
    shifts = read_parquet(shift / "shift.parquet", "run `dvc repro` from the shift stage on")
    other = shift / "clusters.parquet"
    clusters = read_parquet(other) if other.exists() else None
    inputs = Inputs(Path("data"), dataset, settings.towers)
    tokenizer = inputs.tokenizer()
    pairs = inputs.pairs("train", tokenizer, clusters)
    samples = read_json(inputs.shards / "manifest.json")["samples"]
    held_out = inputs.pairs("val", tokenizer) if samples["val"] else None
    steps = settings.train.epochs * steps_per_epoch(len(pairs), settings.train.batch_size)
    torch.manual_seed(seed)
    model = TwoTower(settings.towers, settings.train.head, inputs.dims)
    objective = build_objective(how, len(pairs))
    modulator = build_modulator(
        how, shifts, pairs, total_steps=steps, epochs=settings.train.epochs, dim=model.dim,
    )  # fmt: skip
    with ExitStack() as stack:
        world = stack.enter_context(joined(pick_device(settings.train.device)))
        cell = Path(dataset) / method / str(seed)
        keeper = Checkpoints(
            Path("data/cache/checkpoints") / cell,
            facts(
                {"method": how, "towers": settings.towers, "train": settings.train},
                {"model": model, "objective": objective, "modulator": modulator},
                input_files(Path("data"), dataset, method, settings.towers),
                seed=seed, device=world.device.type, world_size=world.size,
            ),
            every_steps=settings.train.checkpoint.every_steps,
            every_minutes=settings.train.checkpoint.every_minutes,
            processes=world.processes,
        )  # fmt: skip
        work, log = None, None
        if world.first:
            print(how.auto, end="\n" if how.auto else "")
            print(f"global batch {settings.train.batch_size}, processes: {world.size}")
            work = stack.enter_context(output_folder(Path("data/train") / cell))
            log = stack.enter_context(RunLog(work))
        trained = train(
            model, objective, modulator, pairs, held_out, settings.train, seed, log,
            how.relevancy_threshold, world, keeper, resume,
        )  # fmt: skip
        if work is None:
            return
        save_model(
            work, trained.model, settings.towers, settings.train.head, inputs.dims, tokenizer
        )
        save_state(work, objective, modulator)
        write_json(work / "metrics.json", trained.metrics)
        write_json(work / "run.json", {
            "dataset": dataset, "method": method, "seed": seed, **how.numbers(),
            "epochs": settings.train.epochs, "batch_size": settings.train.batch_size // world.size,
            "processes": world.size, "global_batch_size": settings.train.batch_size,
            "total_steps": trained.total_steps, "period": period(how, steps),
        })  # fmt: skip
    keeper.clear()
    print(
        f"{trained.total_steps} steps in {trained.seconds:.1f} s, "
        f"{trained.samples_per_second:,.0f} samples/s" + validation(trained.metrics)
    )


def launch(launcher: tuple[str, ...] | None) -> None:
    """Become the launcher of this very command, unless one has started it."""
    import os
    import sys

    from mmts.errors import InputError
    from mmts.training.distributed import launched

    if launcher is None or launched():
        return
    program = [sys.executable, "-m", "torch.distributed.run"]
    command = [*(program if launcher[0] == "torchrun" else launcher[:1]), *launcher[1:]]
    sys.stdout.flush()
    try:
        os.execvp(command[0], [*command, "-m", "stages.train", *sys.argv[1:]])  # noqa: S606
    except FileNotFoundError:
        raise InputError(
            f"train.launcher starts with {launcher[0]}, which is no program here"
        ) from None


def validation(metrics: dict[str, float]) -> str:
    """The end of the last line: the validation metrics, or that there are none."""
    names = {"val/rsum": "rsum", "val/mAP/avg": "mAP", "val/nDCG/avg": "nDCG"}
    found = [f"{name} {100 * metrics[key]:.1f}" for key, name in names.items() if key in metrics]
    return f", validation {', '.join(found)}" if found else ", no validation split"


if __name__ == "__main__":
    run(main)
