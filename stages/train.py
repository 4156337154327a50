"""Stage `train`: one cell (dataset x method x seed) -> a trained model and its curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.cli import run

if TYPE_CHECKING:
    from mmts.config import TrainStage
    from mmts.training.checkpoint import Checkpoints
    from mmts.training.loop import Trained
    from mmts.training.prepared import Prepared
    from mmts.training.signals import GracefulStop


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Seed of initialisation, order and augmentation."),
    ],
    resume: Annotated[
        Path | None, typer.Option(help="A checkpoint; else the newest of the same settings.")
    ] = None,
) -> None:
    """Train a two-tower model; look at the validation split alone."""
    import os
    import sys
    from contextlib import ExitStack

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no stacks of C++ where a peer has left
    from mmts.config import TrainStage, load
    from mmts.files import output_folder
    from mmts.shards import short_clips
    from mmts.shards.reader import read_manifest
    from mmts.training.checkpoint import Checkpoints
    from mmts.training.device import pick_device
    from mmts.training.fingerprint import facts, input_files
    from mmts.training.joining import alike, joined, launched
    from mmts.training.launching import launch
    from mmts.training.log import RunLog
    from mmts.training.loop import train
    from mmts.training.prepared import prepare
    from mmts.training.signals import GracefulStop, deaf

    with alike():
        settings = load(TrainStage, dataset=dataset, method=method)
        device = pick_device(settings.train.device)
    if settings.train.launcher is not None and not launched():
        launch(settings.train.launcher, "stages.train", sys.argv[1:])
    how, towers, data = settings.method, settings.towers, Path("data")
    cell = Path(dataset) / method / str(seed)
    stop = GracefulStop(begun=False)
    with ExitStack() as stack:
        world = stack.enter_context(joined(device))
        stop.listen()  # until this process ends: the time after the last step counts too
        ready = prepare(
            data, dataset, data / "shift" / dataset / method, how, towers, settings.train, seed,
            world,
        )  # fmt: skip
        found = world.from_first(lambda: facts(
            {"method": how, "towers": towers, "train": settings.train},
            {"model": ready.model, "objective": ready.objective, "modulator": ready.modulator,
             "tokenizer": ready.tokenizer},
            input_files(data, dataset, method, towers),
            seed=seed, device=world.device.type, world_size=world.size,
        ))  # fmt: skip
        keeper = Checkpoints(
            data / "cache/checkpoints" / cell, found,
            every_steps=settings.train.checkpoint.every_steps,
            every_minutes=settings.train.checkpoint.every_minutes,
            processes=world.processes,
        )  # fmt: skip
        work, log = None, None
        with world.processes.together():
            if world.first:
                print(how.auto, end="\n" if how.auto else "")
                print(f"global batch {settings.train.batch_size}, processes: {world.size}")
                if towers.vision.clip_length is not None:
                    manifest = read_manifest(data / "shards" / dataset)
                    line = short_clips(manifest, towers.vision.clip_length)
                    print(line, end="\n" if line else "")
                work = stack.enter_context(output_folder(data / "train" / cell))
                log = stack.enter_context(RunLog(work))
        trained = train(
            ready.model, ready.objective, ready.modulator, ready.pairs, ready.held_out,
            settings.train, seed, log, how.relevancy_threshold, world, keeper, resume, stop,
        )  # fmt: skip
        with world.processes.together():
            if work is not None:
                about = {"dataset": dataset, "method": method, "seed": seed, **how.numbers()}
                about["facts"] = keeper.folder.name
                save(work, settings, ready, trained, world.size, about)
        trained.stop_if_asked()
    if world.first:
        finish(keeper, trained, data / "cache/speed" / dataset / method / f"{seed}.json", stop)
    deaf()  # all is done: the code of a signal would have DVC train it again


def finish(keeper: "Checkpoints", trained: "Trained", path: Path, stop: "GracefulStop") -> None:
    """Do what is left to do when the outputs are there; `path` is that of the speed."""
    import sys

    from mmts.errors import InputError
    from mmts.training import speed
    from mmts.training.joining import launched

    if not (stop.asked and launched()):  # or the launcher ends with the code of the signal
        keeper.clear()  # not before: a power cut may leave outputs, checkpoints or both
    if trained.speed is not None:
        try:
            speed.write(path, keeper.folder.name, trained.speed)
        except (OSError, InputError) as error:  # the run is complete: not for this to fail
            print(f"warning: no speed of this run is kept: {error}", file=sys.stderr)
    fast = "" if trained.speed is None else f", {speed.told(trained.speed)}"
    print(
        f"{trained.total_steps} steps in {trained.seconds:.1f} s{fast}{validation(trained.metrics)}"
    )


def save(
    work: Path, settings: "TrainStage", ready: "Prepared", trained: "Trained", processes: int,
    about: dict[str, Any],
) -> None:  # fmt: skip
    """Write all that a training leaves, but its curves; `about` begins run.json."""
    from mmts.files import write_json
    from mmts.training.build import period
    from mmts.training.saved import save_model, save_state

    train = settings.train
    save_model(work, trained.model, settings.towers, train.head, ready.dims, ready.tokenizer)
    save_state(work, ready.objective, ready.modulator)
    write_json(work / "metrics.json", trained.metrics)
    write_json(work / "run.json", about | {
        "epochs": train.epochs, "batch_size": train.batch_size // processes,
        "processes": processes, "global_batch_size": train.batch_size,
        "total_steps": trained.total_steps, "period": period(settings.method, ready.steps),
    })  # fmt: skip


def validation(metrics: dict[str, float]) -> str:
    """The end of the last line: the validation metrics, or that there are none."""
    from mmts.metrics.recall import to_percent

    names = {"val/rsum": "rsum", "val/mAP/avg": "mAP", "val/nDCG/avg": "nDCG"}
    found = [
        f"{name} {to_percent(key) * metrics[key]:.1f}"
        for key, name in names.items()
        if key in metrics
    ]
    return f", validation {', '.join(found)}" if found else ", no validation split"


if __name__ == "__main__":
    run(main)
