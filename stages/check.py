"""Check params.yaml as a whole, before anything runs. Not a DVC stage: it writes nothing."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    path: Annotated[str, typer.Option("--params", help="The parameter file.")] = "params.yaml",
) -> None:
    """Read every section and every cell of the grid; the first mistake is one line."""
    from mmts.config import check

    grid = check(path)
    cells = len(grid.datasets) * len(grid.methods) * len(grid.seeds)
    print(
        f"{path} is fine: {', '.join(grid.datasets)}; {len(grid.methods)} methods x "
        f"{len(grid.seeds)} seeds = {cells} cells"
    )


if __name__ == "__main__":
    run(main)
