"""Stage `train`: a dataset and a method -> a trained model and its curves for each seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.cli import run

if TYPE_CHECKING:
    from mmts.kept import Kept
    from mmts.planned import Planned
    from mmts.training.checkpoint import Checkpoints
    from mmts.training.loop import Trained
    from mmts.training.prepared import Prepared
    from mmts.training.signals import GracefulStop


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**32 - 1,
            help="Train this seed alone, into data/cache/kept, from where `dvc repro` takes it.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="With --seed: a checkpoint; else the newest of the same settings."),
    ] = None,
) -> None:
    """Train a model with each seed of the grid; look at the validation split alone.

    A seed that was finished before with the same plan, code and data is not trained again.
    """
    import os
    from functools import partial

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no stacks of C++ where a peer has left
    from mmts.errors import InputError
    from mmts.kept import Kept
    from mmts.planned import Planned
    from mmts.settings.training import Train
    from mmts.training.device import pick_device
    from mmts.training.joining import alike, launched
    from mmts.training.seeds import at_once, each

    data = Path("data")
    inputs = [
        data / "embed" / dataset,
        data / "shards" / dataset,
        data / "shift" / dataset / method,
    ]
    with alike():
        if resume is not None and seed is None:
            raise InputError("--resume is of one seed; give --seed too")
        if launched() and seed is None:
            raise InputError(
                "processes that a launcher has started train one seed; give --seed, or name the "
                "launcher in train.launcher and run `dvc repro`"
            )
        plan = Planned("train", dataset=dataset, method=method, inputs=inputs)
        kept = Kept(plan, ("train", dataset, method), inputs)
        settings = plan.settings("train", Train)
        device = pick_device(settings.device)
        seeds = plan.settings("seeds", tuple[int, ...]) if seed is None else (seed,)
    work = partial(train_seed, plan, kept, dataset, method, resume=resume)

    def once(number: int) -> None:
        with kept.turn(number):
            if not kept.has(number):
                work(number)

    with plan:
        if launched():
            work(seeds[0])
            return
        left = [seed for seed in seeds if not kept.has(seed)]
        if settings.launcher is not None:
            launched_each(settings.launcher, dataset, method, left, resume, alone=seed is not None)
        elif device.type == "cpu" and len(left) > 1:
            import torch._dynamo  # noqa: F401  AdamW does: once here, not in each fork

            from mmts.training import loop, prepared  # noqa: F401  likewise

            each(left, once, at_once(settings, device.type, len(left)))
        else:
            for number in left:
                once(number)
        if seed is not None:
            print(f"{kept.path(seed)} has the result; `dvc repro` takes it from there")
            return
        final = data / "train" / dataset / method
        with plan.output(final, sums=False) as folder:
            for number in seeds:
                kept.put(number, folder / str(number))
            (folder / "plan.json").write_bytes(plan.path.read_bytes())
    if len(left) < len(seeds):
        print(f"{len(seeds) - len(left)} of {len(seeds)} seeds were trained before")


def launched_each(
    launcher: tuple[str, ...], dataset: str, method: str, seeds: list[int], resume: Path | None,
    *, alone: bool,
) -> None:  # fmt: skip
    """Train the seeds one after the other by a launcher, such as torchrun.

    Args:
        launcher: its words.
        dataset, method, seeds: of the cells.
        resume: a checkpoint.
        alone: whether this process is to become the launcher of the only seed.
    """
    import sys

    from mmts.training.launching import launch, start

    for seed in seeds:
        arguments = ["--dataset", dataset, "--method", method, "--seed", str(seed)]
        if alone:
            more = [] if resume is None else ["--resume", str(resume)]
            launch(launcher, "stages.train", [*arguments, *more])
        code = start([sys.executable, "-m", "stages.train", *arguments])
        if code:
            raise SystemExit(code)


def train_seed(
    plan: "Planned", kept: "Kept", dataset: str, method: str, seed: int, resume: Path | None = None
) -> None:
    """Train one seed, on this process or on all that were launched together, and keep the result.

    Args:
        plan: of the cell.
        kept: where the result goes.
        dataset, method, seed: of the cell.
        resume: a checkpoint.
    """
    from contextlib import ExitStack

    from mmts.files import cache_folder
    from mmts.kinds.measure import Measure
    from mmts.kinds.model import ModelOfSettings
    from mmts.kinds.stream import Stream
    from mmts.method import Method
    from mmts.settings.towers import Towers
    from mmts.settings.training import Train
    from mmts.shards import short_clips
    from mmts.shards.reader import read_manifest
    from mmts.training.checkpoint import Checkpoints
    from mmts.training.device import pick_device
    from mmts.training.fingerprint import facts
    from mmts.training.joining import joined, launched
    from mmts.training.log import RunLog
    from mmts.training.loop import train
    from mmts.training.prepared import prepare
    from mmts.training.signals import GracefulStop, deaf
    from mmts.training.validation import rehearse

    how, towers = plan.settings("method", Method), plan.settings("towers", Towers)
    settings, data = plan.settings("train", Train), Path("data")
    streams = plan.settings("streams", dict[str, Stream])
    kind = plan.settings("model", ModelOfSettings)
    stop = GracefulStop(begun=False)
    with ExitStack() as stack:
        world = stack.enter_context(joined(pick_device(settings.device)))
        if launched() and world.from_first(lambda: kept.has(seed)):
            if world.first:
                print(f"{kept.path(seed)} has the result; `dvc repro` takes it from there")
            return
        stop.listen()  # until this process ends: the time after the last step counts too
        ready = prepare(
            data, dataset, data / "shift" / dataset / method, how, towers, settings, seed, world,
            streams, kind,
        )  # fmt: skip
        measure = plan.settings("measure", Measure)
        measure.check(ready.pairs.classes_of is not None)
        if ready.held_out is not None:
            ready.held_out.measure = measure
        found = world.from_first(
            lambda: facts(
                plan.content, plan.code, kept.inputs,
                seed=seed, device=world.device.type, world_size=world.size,
            )
        )  # fmt: skip
        keeper = Checkpoints(
            cache_folder("checkpoints") / dataset / method / str(seed), found,
            every_steps=settings.checkpoint.every_steps,
            every_minutes=settings.checkpoint.every_minutes,
            processes=world.processes,
        )  # fmt: skip
        work, log = None, None
        with world.processes.together():
            if world.first:
                print(f"global batch {settings.batch_size}, processes: {world.size}")
                if towers.vision.frames is not None:
                    manifest = read_manifest(data / "shards" / dataset)
                    line = short_clips(manifest, towers.vision.frames)
                    print(line, end="\n" if line else "")
                if ready.held_out is not None:
                    rehearse(ready.held_out)
                work = stack.enter_context(kept.new(seed))
                log = stack.enter_context(RunLog(work))
        trained = train(
            ready.model, ready.objective, ready.modulator, ready.pairs, ready.held_out, settings,
            seed, log, how.relevancy_threshold, world, keeper, resume, stop,
            by_row=how.objective.by_row and how.modulator.by_row, name=how.objective.kind,
            terms=ready.terms,
        )  # fmt: skip
        with world.processes.together():
            if work is not None:
                plan.check()
                about = {"dataset": dataset, "method": method, "seed": seed, **how.numbers()}
                about |= {"device": world.device.type, "facts": keeper.folder.name}
                save(work, how, towers, settings, kind, ready, trained, world.size, about)
        trained.stop_if_asked()
    if world.first:
        finish(
            keeper, ready, trained, cache_folder("speed") / dataset / method / f"{seed}.json", stop
        )
    deaf()  # all is done: the code of a signal would have DVC train it again


def finish(
    keeper: "Checkpoints", ready: "Prepared", trained: "Trained", path: Path, stop: "GracefulStop"
) -> None:  # fmt: skip
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
    said = validation(ready, trained.metrics)
    print(f"{trained.total_steps} steps in {trained.seconds:.1f} s{fast}{said}")


def save(
    work: Path, how: Any, towers: Any, train: Any, kind: Any, ready: "Prepared",
    trained: "Trained", processes: int, about: dict[str, Any],
) -> None:  # fmt: skip
    """Write all that a training leaves, but its curves; `about` begins run.json."""
    from mmts.files import write_json
    from mmts.training.build import period
    from mmts.training.saved import save_model, save_state

    save_model(
        work, trained.model, towers, train.head, ready.dims, ready.tokenizer, ready.streams, kind
    )
    terms = {f"term-{name}": term for name, (_, term) in ready.terms.items()}
    save_state(work, {"objective": ready.objective, "modulator": ready.modulator, **terms})
    write_json(work / "metrics.json", trained.metrics)
    write_json(work / "run.json", about | {
        "epochs": train.epochs, "batch_size": train.batch_size // processes,
        "processes": processes, "global_batch_size": train.batch_size,
        "total_steps": trained.total_steps, "period": period(how, ready.steps),
    })  # fmt: skip


def validation(ready: "Prepared", metrics: dict[str, float]) -> str:
    """The end of the last line: the validation metrics, or that there are none."""
    from mmts.training.validation import measure_of

    if ready.held_out is None or not metrics:
        return ", no validation split"
    measure = measure_of(ready.held_out)
    found = {name: f"val/{measure.validated[name]}" for name in measure.drawn}
    told = (f"{name} {measure.percent(metrics, key)}" for name, key in found.items())
    return f", validation {', '.join(told)}"


if __name__ == "__main__":
    run(main)
