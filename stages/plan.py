"""Stage `plan`: params.yaml and the code -> all that decides each result, in small files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.cli import run

if TYPE_CHECKING:
    from mmts.config import Config
    from mmts.plan import Plan


def main(
    params: Annotated[Path, typer.Option(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Check the whole parameter file, resolve each dataset and method, and write data/plan.

    All mistakes are told, a line each, and the old plan stays. Raw files, sentence models, weights
    and tokenizers that the grid needs are tried too.
    """
    from mmts import config
    from mmts.files import cache_folder
    from mmts.plan import Plan

    cache = cache_folder("plan")
    found = config.load(params)
    check_raw(found)
    check_features(found)
    fetch(found)
    plan = Plan(found, params, cache)
    try_measures(found, plan, cache / "tried_measures.json")
    if try_models(found, plan, cache / "tried.json"):  # weights may have come
        plan = Plan(found, params, cache)
    try_methods(found, plan, cache / "tried_methods.json")
    changed = plan.write()
    grid = found.grid
    cells = len(grid.datasets) * len(grid.methods) * len(grid.seeds)
    print(
        f"{params} is fine: {', '.join(grid.datasets)}; {len(grid.methods)} methods x "
        f"{len(grid.seeds)} seeds = {cells} models; {len(changed)} files of the plan have changed"
    )


def check_raw(config: "Config") -> None:
    """Raise InputError if a dataset of the grid has no raw files.

    One whose sources are all named by absolute paths needs none, but DVC wants the folder.
    """
    from mmts.errors import InputError

    for name in config.grid.datasets:
        raw = Path("data/raw") / name
        if raw.exists() or raw.with_name(f"{name}.dvc").exists():  # DVC brings the latter
            continue
        if not all(s.elsewhere for s in config.datasets[name].captions.sources.values()):
            raise InputError(
                f"{raw} is not there; put the files of datasets.{name}.captions.sources into it, "
                "or name them by absolute paths"
            )
        raw.mkdir(parents=True)


def check_features(config: "Config") -> None:
    """Raise InputError if a method of the grid is clustered by a file that is not there."""
    from mmts.errors import InputError
    from mmts.plan import clusterings_of

    for name in config.grid.datasets:
        for clustering, kind in clusterings_of(config, name).items():
            for path in kind.files:
                if not Path(path).is_file():
                    raise InputError(
                        f"datasets.{name}.clusterings.{clustering} reads {path}, which is not "
                        "there; write it with `python -m stages.features`, or leave the methods "
                        "that use it out of grid.methods until then"
                    )


def fetch(config: "Config") -> None:
    """Have the sentence models of the grid here, so that the plan knows which they are."""
    from mmts.weights import sentence_model

    for name in config.grid.datasets:
        sentence_model(config.datasets[name].embed.model)


def try_models(config: "Config", plan: "Plan", memory: Path) -> bool:
    """Build the models of the grid once, where that can fail; not again until the plan changes.

    Returns whether any was built, which brings weights that were not here.
    """
    import hashlib
    import json

    known, done = remembered(memory), []
    for name in config.grid.datasets:
        dataset = config.datasets[name]
        cell = json.loads(plan.files[f"{name}/{config.grid.methods[0]}/train.json"])
        train = cell["settings"].pop("train")
        built_of = {key: cell["settings"][key] for key in ("towers", "model", "streams")}
        built_of |= {key: train[key] for key in ("head", "learning_rates")}
        behind = {key: cell[key] for key in ("weights", "packages", "kinds")}
        forms = sorted({config.cells[name, method].matching for method in config.grid.methods})
        others = (plan.files[file] for file in (f"{name}/embed.json", "code/train"))
        text = f"{json.dumps([built_of, behind, forms])}{''.join(others)}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        towers, streams, model = dataset.towers, dataset.streams, dataset.model
        absent = '": "none"' in plan.files[f"{name}/embed.json"]
        rates = dict(dataset.train.learning_rates)
        if digest not in known and (towers.given or model.given or absent or streams or rates):
            from mmts.towers.ahead import bring_frozen, try_model
            from mmts.training.groups import parameter_groups

            if absent:
                bring_frozen(towers)
            for matching in forms:
                built = try_model(towers, dataset.train.head, streams, model, bool(rates), matching)
                if built is not None:
                    parameter_groups(built, 0.0, rates)
            done.append(digest)
    if done:
        remember(memory, [*known, *done])
    return bool(done)


def try_measures(config: "Config", plan: "Plan", memory: Path) -> None:
    """Check what the measures of the grid say of themselves; not again until the plan changes."""
    import hashlib

    known, done = remembered(memory), []
    for measure in (config.datasets[name].measure for name in config.grid.datasets):
        text = (
            f"{measure.model_dump_json()}{plan.files['report.json']}{plan.files['code/evaluate']}"
        )
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest not in known and digest not in done:
            from mmts.kinds.measure._checked import check_facts

            check_facts(measure)
            done.append(digest)
    if done:
        remember(memory, [*known, *done])


def try_methods(config: "Config", plan: "Plan", memory: Path) -> None:
    """Compute the loss of each method of the grid once; not again until its kinds change."""
    import hashlib
    import json
    from itertools import product

    known, done = remembered(memory), []
    for name, method in product(config.grid.datasets, config.grid.methods):
        cell, kinds = config.cells[name, method], plan.files[f"{name}/{method}/train.json"]
        text = f"{cell.model_dump_json()}{json.loads(kinds)['kinds']}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest not in known and digest not in done:
            from mmts.training.ahead import try_method

            try_method(cell)
            done.append(digest)
    if done:
        remember(memory, [*known, *done])


def remembered(memory: Path) -> list[str]:
    """Return the digests of what was tried before."""
    import json

    try:
        return list(json.loads(memory.read_bytes()))
    except (OSError, ValueError, TypeError):
        return []


def remember(memory: Path, digests: list[str]) -> None:
    """Keep the last ones."""
    import json

    from mmts.files import output_file

    with output_file(memory) as work:
        work.write_text(json.dumps(digests[-1000:]), encoding="utf-8")


def settings(
    page: Annotated[
        Path | None, typer.Option(help="Write it to the end of this page, such as docs/params.md.")
    ] = None,
) -> None:
    """Print every setting with its default and what it means, as Markdown."""
    from mmts.described import HEADING, described

    if page is None:
        print(described())
        return
    text = page.read_text(encoding="utf-8")
    page.write_text(f"{text.partition(HEADING)[0]}{HEADING}\n{described()}", encoding="utf-8")


if __name__ == "__main__":
    run(main, settings=settings)
