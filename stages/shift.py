"""Stage `shift`: cluster sizes -> the shift of each cluster (Eq. 6)."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    method: Annotated[str, typer.Option(help="A name under `methods` in params.yaml.")],
) -> None:
    """Write the shift table of one method, and those clusters that are not in the shards."""
    from pathlib import Path

    from mmts.clusters import CLASS, read_clusters
    from mmts.config import ShiftStage, load
    from mmts.errors import InputError
    from mmts.files import output_folder
    from mmts.shift import shift_table

    settings = load(ShiftStage, dataset=dataset, method=method)
    folder, wanted = Path("data/cluster") / dataset, settings.clustering
    tables = {}
    for name in wanted.names:
        path = folder / f"{name}.parquet"
        if not path.exists():
            there = ", ".join(sorted(p.stem for p in folder.glob("*.parquet"))) or "none"
            raise InputError(
                f"method {method}: no clustering {name}; there are: {there} "
                "(name one of them, or run `dvc repro`)"
            )
        tables[name] = read_clusters(path)
    table = shift_table(
        tables[wanted.shift],
        shift_min=settings.shift_min,
        shift_max=settings.shift_max,
        mapping=settings.shift_mapping,
    )
    joined = tables[wanted.shift][["caption_id", "cluster_id"]]
    if wanted.shift == "default":  # it stands in the shards
        joined = joined[["caption_id"]]
    for name in wanted.relevancy:
        of = tables[name].set_index("caption_id")["cluster_id"]
        joined = joined.assign(**{CLASS + name: of.reindex(joined["caption_id"]).to_numpy()})
    with output_folder(Path("data/shift") / dataset / method) as work:
        table.to_parquet(work / "shift.parquet", index=False)
        if joined.columns.size > 1:
            joined.to_parquet(work / "clusters.parquet", index=False)
    if settings.auto:
        print(settings.auto)
    print(f"{len(table)} clusters, shift {table['shift'].min():.4g} to {table['shift'].max():.4g}")


if __name__ == "__main__":
    run(main)
