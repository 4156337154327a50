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
        list[str] | None,
        typer.Option(help="One of its datasets, may be repeated; without it all that run here."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Cells at a time, a thread each.")] = 2,
) -> None:
    """Train what the study has no record of: trials, then what they choose, and ablations.

    It may be stopped at any time, with Ctrl-C or otherwise; the same command goes on from there.
    """
    import sys
    from contextlib import ExitStack

    from mmts.study.pool import alone
    from mmts.study.run import DATA
    from mmts.study.session import Session

    session = Session(folder, dataset or [])
    for told in session.set_aside:
        print("set aside, neither trained nor shown:", told)
    with ExitStack() as stack:
        for name in session.names:
            stack.enter_context(alone(DATA / "cache/study" / name))
        try:
            if tasks := session.missing():
                said = "cells to train; Ctrl-C stops, and the same command goes on"
                print(session.left(), said, flush=True)
                stage("plan")
                for name in dict.fromkeys(cell.dataset for cell, _ in tasks.values()):
                    prepare(name)
                    session.keep_queries(name)
                session.train(processes)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from what is done", file=sys.stderr)
            raise
        session.write()


def prepare(dataset: str) -> None:
    """Run the stages up to `pack`; what they have in their caches is not computed again."""
    for name in PREPARED:
        stage(name, "--dataset", dataset)


def stage(name: str, *arguments: str) -> None:
    """Run a stage in a process of its own, and end as it does where it fails."""
    import subprocess
    import sys

    command = [sys.executable, "-m", f"stages.{name}", *arguments]
    code = subprocess.run(command, check=False).returncode  # noqa: S603
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    run(main)
