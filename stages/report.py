"""Stage `report`: the cells that the grid names -> tables, figures and the results page.

`python -m stages.report study` is no stage: it writes the report of the study alone.
"""

from stages.cli import run


def main() -> None:
    """Write results/ anew: numbers, figures, index.html, and what stays local in results/local."""
    from pathlib import Path

    from tqdm import tqdm

    from mmts.files import cache_folder
    from mmts.planned import Planned
    from mmts.reporting.load import load_dataset
    from mmts.reporting.report import dataset_report
    from mmts.reporting.results import write_results
    from mmts.reporting.speed import cell_speeds
    from mmts.reporting.study.files import study_files
    from mmts.reporting.words import stated
    from mmts.settings.grid import Grid
    from mmts.settings.grid import Report as Settings
    from mmts.shards import ShardReader
    from mmts.shards.items import BAR_OF_UNEVEN_WORK

    data, results = Path("data"), Path("results")
    stages = ("captions", "embed", "cluster", "shift", "shards", "train", "evaluate")
    plan = Planned("report", inputs=[*(data / stage for stage in stages), Path("study")])
    with plan, plan.output(results, sums=False) as work:
        grid, settings = plan.settings("grid", Grid), plan.settings("report", Settings)
        datasets = [
            load_dataset(data, name, methods=grid.methods, seeds=grid.seeds)
            for name in grid.datasets
        ]
        reports = [
            dataset_report(dataset, settings, ShardReader(dataset.shards, "test"))
            for dataset in tqdm(datasets, desc="report", bar_format=BAR_OF_UNEVEN_WORK)
        ]
        speeds = {of.name: cell_speeds(cache_folder("speed"), of) for of in datasets}
        write_results(work, reports, speeds, study_files(Path("study")))
    for report in reports:
        for overall, *_ in report.tables:
            found = stated(report.dataset, overall)
            name = f"{report.dataset.name}, tested on {overall.source}"
            print(f"{name}: {found.number} {found.text}")
    print(f"{results / 'index.html'}: {(results / 'index.html').stat().st_size / 1000:.0f} kB")
    if any(not report.dataset.publishable for report in reports):
        print(f"{results / 'local/index.html'}: the same with captions and pictures, not for git")
    known = sum(len(row.seeds) for rows in speeds.values() for row in rows if row.measured)
    cells = sum(len(dataset.cells) for dataset in datasets)
    print(f"{results / 'local/speed.md'}: speed of the training of {known} of {cells} cells")


def study() -> None:
    """Write the study's files of results/ anew, from study/ alone: seconds, without training."""
    from pathlib import Path

    from mmts.errors import InputError
    from mmts.reporting.study.files import study_files, write_study

    files = study_files(Path("study"))
    if not files:
        raise InputError("study/ has no finished dataset; run `python -m stages.study`")
    write_study(Path("results"), files)
    print(f"results/study.md and {len(files) - 1} other files")


if __name__ == "__main__":
    run(main, study=study)
