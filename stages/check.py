"""Stage `check`: params.yaml as a whole, before anything runs."""

from pathlib import Path
from typing import Annotated

import typer

from stages.cli import run


def main(
    path: Annotated[str, typer.Option("--params", help="The parameter file.")] = "params.yaml",
    done: Annotated[
        Path | None,
        typer.Option(help="A folder to write, always alike, if all is fine; `captions` needs it."),
    ] = None,
) -> None:
    """Read every section and every cell of the grid; the first mistake is one line.

    Weights, tokenizers and parts of towers that the grid's datasets train are tried too, and
    whether there are raw files and a model of sentences.
    """
    from mmts.config import EmbedStage, TrainStage, check, load
    from mmts.errors import InputError
    from mmts.files import output_folder
    from mmts.weights import sentence_model

    grid = check(path)
    for dataset in grid.datasets:
        raw = Path("data/raw") / dataset
        if not raw.exists():
            raise InputError(
                f"{raw} is not there; put the files of datasets.{dataset}.captions.sources into it"
            )
        sentence_model(load(EmbedStage, path, dataset=dataset).embed.model)
        settings = load(TrainStage, path, dataset=dataset, method=grid.methods[0])
        if settings.towers.given:
            from mmts.towers.ahead import try_model

            try_model(settings.towers, settings.train.head)
    if done is not None:
        with output_folder(done) as work:
            (work / "params.txt").write_text("params.yaml is fine\n")
    cells = len(grid.datasets) * len(grid.methods) * len(grid.seeds)
    print(
        f"{path} is fine: {', '.join(grid.datasets)}; {len(grid.methods)} methods x "
        f"{len(grid.seeds)} seeds = {cells} cells"
    )


if __name__ == "__main__":
    run(main)
