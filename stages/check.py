"""Check params.yaml as a whole, before anything runs. Not a DVC stage: it writes nothing."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    path: Annotated[str, typer.Option("--params", help="The parameter file.")] = "params.yaml",
) -> None:
    """Read every section and every cell of the grid; the first mistake is one line.

    Weights, tokenizers and parts of towers that the grid's datasets train, and models of sentences
    from a hub, are tried too.
    """
    from pathlib import Path

    from mmts.config import EmbedStage, TrainStage, check, load
    from mmts.weights import sentence_model

    grid = check(path)
    for dataset in grid.datasets:
        model = load(EmbedStage, path, dataset=dataset).embed.model
        if not Path(sentence_model(model)).is_dir():  # of the hub: can it be had?
            from mmts.embed import load_sentence_model

            load_sentence_model(model)
        settings = load(TrainStage, path, dataset=dataset, method=grid.methods[0])
        if settings.towers.given:
            from mmts.towers.ahead import try_model

            try_model(settings.towers, settings.train.head)
    cells = len(grid.datasets) * len(grid.methods) * len(grid.seeds)
    print(
        f"{path} is fine: {', '.join(grid.datasets)}; {len(grid.methods)} methods x "
        f"{len(grid.seeds)} seeds = {cells} cells"
    )


if __name__ == "__main__":
    run(main)
