"""`python -m stages.study`: train what a study lacks. No stage: its records are kept in git."""

from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run

PREPARED = ("captions", "embed", "cluster", "pack")


def main(
    folder: Annotated[
        Path, typer.Option(help="Of the study: its params.yaml, and the records beside it.")
    ] = Path("study"),
    dataset: Annotated[
        list[str] | None, typer.Option(help="One of its datasets; all without this.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Cells at a time, a thread each.")] = 2,
) -> None:
    """Run the trials and what is chosen by them; a cell that has a record is not run again."""
    import torch

    from mmts.study.plan import Plan
    from mmts.study.pool import Task, run_all
    from mmts.study.records import Records
    from mmts.study.settings import load_study

    where = folder / "params.yaml"
    study = load_study(where)
    known = study.datasets + (study.cuda_datasets if torch.cuda.is_available() else ())
    names = tuple(dataset) if dataset else known
    plans = {name: Plan(study, name, str(where)) for name in names}
    records = {name: Records(folder, name) for name in names}
    towers = {name: plan.base.towers for name, plan in plans.items()}

    def missing() -> dict[str, Task]:
        tasks = [plan.missing(records[name].by_key) for name, plan in plans.items()]
        return {key: task for of_dataset in tasks for key, task in of_dataset.items()}

    prepared: set[str] = set()
    while tasks := missing():
        for name in dict.fromkeys(cell.dataset for cell, _ in tasks.values()):
            if name not in prepared:
                prepare(name)
                records[name].keep_queries(plans[name].queries())
                prepared.add(name)
        run_all(tasks, towers, processes, lambda name, record: records[name].add(record))
    for name, plan in plans.items():
        index = plan.index(records[name].by_key)
        records[name].tidy(index.keys())
        index.write(folder)
        print(f"{records[name].path}: {len(records[name].by_key)} cells")


def prepare(dataset: str) -> None:
    """Run the stages up to `pack`; what they have in their caches is not computed again."""
    import subprocess
    import sys

    for stage in PREPARED:
        command = [sys.executable, "-m", f"stages.{stage}", "--dataset", dataset]
        code = subprocess.run(command, check=False).returncode  # noqa: S603
        if code:
            raise SystemExit(code)


if __name__ == "__main__":
    run(main)
