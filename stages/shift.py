"""Stage `shift`: cluster sizes -> the shift of each cluster (Eq. 6)."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
) -> None:
    """Write the shift table of one method, and its clusters where they are not in the shards."""
    from pathlib import Path

    from mmts.config import ShiftStage, load
    from mmts.errors import InputError
    from mmts.files import output_folder, read_parquet
    from mmts.shift import shift_table

    settings = load(ShiftStage, dataset=dataset, method=method)
    folder = Path("data/cluster") / dataset
    path = folder / f"{settings.clustering}.parquet"
    if not path.exists():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.parquet"))) or "none"
        raise InputError(
            f"method {method}: no clustering {settings.clustering}; there are: {there} "
            "(name one of them, or run `dvc repro` from the cluster stage on)"
        )
    clusters = read_parquet(path)
    table = shift_table(clusters, shift_min=settings.shift_min, shift_max=settings.shift_max)
    with output_folder(Path("data/shift") / dataset / method) as work:
        table.to_parquet(work / "shift.parquet", index=False)
        if settings.clustering != "default":
            clusters[["caption_id", "cluster_id"]].to_parquet(
                work / "clusters.parquet", index=False
            )
    print(f"{len(table)} clusters, shift {table['shift'].min():.4g} to {table['shift'].max():.4g}")


if __name__ == "__main__":
    run(main)
