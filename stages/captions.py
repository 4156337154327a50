"""Stage `captions`: the sources of a dataset -> one checked captions table."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
) -> None:
    """Read pictures and captions, check every row and picture, assign the splits."""
    from pathlib import Path

    from mmts.captions import build, repeats_line
    from mmts.errors import one_line
    from mmts.files import write_json
    from mmts.long_tail import long_tail_line
    from mmts.planned import Planned
    from mmts.settings.sources import Captions
    from mmts.sources.coverage import coverage_line

    raw, final = Path("data/raw") / dataset, Path("data/captions") / dataset
    with Planned("captions", dataset=dataset, inputs=[raw]) as plan, plan.output(final) as work:
        table = build(plan.settings("captions", Captions), raw, work, final)
        table.rows.to_parquet(work / "captions.parquet", index=False)
        table.dropped.to_parquet(work / "dropped.parquet", index=False)
        write_json(work / "summary.json", {"dataset": dataset, **table.summary})
    summary = table.summary
    media = "clips" if "start" in table.rows else "pictures"
    for split, rows in summary["rows"].items():
        print(f"{split}: {rows} captions of {summary['media'][split]} {media}")
    for source, about in summary["sources"].items():
        for split, counts in about.get("coverage", {}).items():
            what = "clips" if media == "clips" else "images"
            print(coverage_line(source, split, **counts, what=what))
        official, there = about.get("official", {}).get("test", 0), summary["media"]["test"]
        if there < official and len(summary["sources"]) == 1:
            print(f"{source} test: a gallery of {there:,} of the {official:,} official {media}")
        if about.get("merged"):
            print(
                f"{source}: {about['merged']} pictures are copies of others and were joined to them"
            )
        for split, images in about.get("uncaptioned", {}).items():
            print(f"{source} {split}: images left out because they have no caption: {images:,}")
    if "long_tail" in summary:
        print(one_line(long_tail_line(summary["long_tail"], media)))
    for repeat in summary["repeats"]:
        print(one_line(repeats_line(**repeat)))
    for reason, rows in summary["dropped"].items():
        print(f"dropped: {rows} rows, {one_line(reason)} (listed in {final / 'dropped.parquet'})")


if __name__ == "__main__":
    run(main)
