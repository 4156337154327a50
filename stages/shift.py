"""Stage `shift`: cluster sizes -> the shift of each cluster (Eq. 6), a table a method."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
) -> None:
    """Write the shift table of each method of the grid, and clusters that are not in the shards."""
    from pathlib import Path

    from mmts.clusters import method_clusters, read_clusters
    from mmts.method import ShiftSettings
    from mmts.planned import Planned
    from mmts.sealed import write_sums
    from mmts.shift import shift_table

    folder = Path("data/cluster") / dataset
    with (
        Planned("shift", dataset=dataset, inputs=[folder]) as plan,
        plan.output(Path("data/shift") / dataset, sums=False) as work,
    ):
        methods = plan.settings("methods", dict[str, ShiftSettings])
        names = {name for method in methods.values() for name in method.clustering.names}
        tables = {name: read_clusters(folder / f"{name}.parquet") for name in sorted(names)}
        for name, settings in methods.items():
            table = shift_table(
                tables[settings.clustering.shift],
                shift_min=settings.shift_min,
                shift_max=settings.shift_max,
                mapping=settings.shift or "linear",
            )
            (work / name).mkdir()
            table.to_parquet(work / name / "shift.parquet", index=False)
            own = method_clusters(settings.clustering, tables)
            if own is not None:
                own.to_parquet(work / name / "clusters.parquet", index=False)
            write_sums(work / name)
            low, high = table["shift"].min(), table["shift"].max()
            print(f"{name}: {len(table)} clusters, shift {low:.4g} to {high:.4g}")


if __name__ == "__main__":
    run(main)
