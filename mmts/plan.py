"""The plan: all that decides a result, in small files that DVC hashes.

    data/plan/<dataset>/<stage>.json            captions, embed, cluster, shift, pack
    data/plan/<dataset>/<method>/<stage>.json   train, evaluate
    data/plan/report.json
    data/plan/code/<stage>                      a digest of what the stage runs, see `mmts.code`
    data/plan/run/…                             what changes no result; no stage depends on it

A JSON has the `settings`, resolved, and what stands behind the names in them: `weights`, `packages`
(versions), `files` outside of the project, and `kinds` (a digest of the code of each).
`mmts.planned` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmts.code import Code
from mmts.config import Config
from mmts.files import output_file
from mmts.fingerprints import files_outside, model_fingerprint, package_versions
from mmts.kinds.clustering import CLUSTERINGS, ClusteringKind
from mmts.kinds.measure import MEASURES
from mmts.kinds.model import MODELS, VISION, ModelKind
from mmts.kinds.modulator import MODULATORS
from mmts.kinds.objective import OBJECTIVES
from mmts.kinds.rerank import RERANKS
from mmts.kinds.schedule import SCHEDULES
from mmts.kinds.shift import SHIFTS
from mmts.kinds.source import SOURCES
from mmts.kinds.stream import STREAMS
from mmts.kinds.term import TERMS
from mmts.kinds.text import TEXT_TOWERS, TextKind
from mmts.kinds.vision import VISION_TOWERS, VisionKind
from mmts.method import Method, ShiftSettings
from mmts.planned import PLAN, Files
from mmts.registry import Registry
from mmts.sealed import sha256_file
from mmts.settings.base import NO_RESULT
from mmts.settings.dataset import Dataset

Json = dict[str, Any]
STAGES = ("captions", "embed", "cluster", "shift", "pack", "train", "evaluate", "report")
STAMP = "run/params.json"
"""The digest of the params.yaml that the plan is of."""


REGISTRIES: dict[Registry[Any], tuple[str, ...]] = {
    SOURCES: ("captions",),
    CLUSTERINGS: ("cluster",),
    VISION_TOWERS: ("embed", "train", "evaluate"),
    TEXT_TOWERS: ("embed", "train", "evaluate"),
    MODELS: ("train", "evaluate"),
    STREAMS: ("pack", "train", "evaluate", "report"),
    SHIFTS: ("shift", "train", "report"),
    OBJECTIVES: ("train", "report"),
    MODULATORS: ("train", "report"),
    SCHEDULES: ("train", "report"),
    TERMS: ("train", "report"),
    MEASURES: ("train", "evaluate", "report"),
    RERANKS: ("evaluate", "report"),
}
"""All registries, and the stages that load kinds of each."""
LOADED_BY_NAME = {
    stage: [
        module for registry, by in REGISTRIES.items() if stage in by for module in registry.modules
    ]
    for stage in STAGES
}
"""Modules that a stage imports by their names in settings."""


def kinds_in(value: Any) -> Iterator[str]:
    """Yield the modules of the kinds that settings name."""
    if isinstance(value, BaseModel):
        if isinstance(value, tuple(registry.base for registry in REGISTRIES)):
            yield type(value).__module__
        value = dict(value)
    for inner in value.values() if isinstance(value, Mapping) else ():
        yield from kinds_in(inner)
    for inner in value if isinstance(value, tuple) else ():
        yield from kinds_in(inner)


def split(settings: BaseModel) -> tuple[Json, Json]:
    """Return the settings that decide results, and those that do not (`NO_RESULT`)."""
    decides: Json = {}
    free: Json = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if NO_RESULT in field.metadata:
            free[name] = _plain(value)
        elif isinstance(value, BaseModel):
            decides[name], below = split(value)
            if below:
                free[name] = below
        else:
            decides[name] = _plain(value)
    return decides, free


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def clusterings_of(config: Config, name: str) -> dict[str, ClusteringKind]:
    """Return the clusterings of a dataset that are made, by name.

    One that reads a file is only made where a method of the grid uses it: the file may be written
    by a model that is trained with others.
    """
    cells = (config.cells.get((name, method)) for method in config.grid.methods)
    used = {"default", *(n for cell in cells if cell is not None for n in cell.clustering.names)}
    found = config.datasets[name].clusterings
    return {key: kind for key, kind in found.items() if key in used or not kind.files}


class Plan:
    """The files of a plan, by their names in `data/plan`; written by `write`."""

    def __init__(self, config: Config, params: Path, cache: Path) -> None:
        """
        Args:
            config: params.yaml, resolved.
            params: that file.
            cache: folder to remember in what was found out of files.
        """
        self._config, self._code = config, Code(cache)
        self._files = Files(cache / "files.json")
        self.files: dict[str, str] = {}
        self._add(STAMP, {"sha256": sha256_file(params)})
        for stage in STAGES:
            self._add_code(stage)
        for name, dataset in config.datasets.items():
            self._add_dataset(name, dataset)
        for (name, method), cell in config.cells.items():
            self._add_cell(name, method, cell)
        grid = config.grid
        shown = [config.cells[d, m] for d in grid.datasets for m in grid.methods]
        datasets = [config.datasets[name] for name in grid.datasets]
        judges = [(d.streams, d.measure, d.evaluate) for d in datasets]
        self._add(
            "report.json",
            {
                "settings": {"grid": _plain(grid), "report": _plain(config.report)},
                "kinds": self._kinds(*shown, *judges, words=True),
            },
        )
        self._files.remember()

    def write(self, folder: Path = PLAN) -> list[str]:
        """Write what has changed, each file at once or not at all; return the names of those."""
        old = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        changed = [
            name
            for name, text in self.files.items()
            if name not in old or old[name].read_text(encoding="utf-8") != text
        ]
        gone = [name for name in old if name not in self.files]
        written = changed
        if changed or gone:  # last, so that a plan that is half-written is of no params.yaml
            (folder / STAMP).unlink(missing_ok=True)
            written = [*(name for name in changed if name != STAMP), STAMP]
        for name in gone:
            old[name].unlink()
        for name in written:
            with output_file(folder / name) as work:
                work.write_text(self.files[name], encoding="utf-8")
        for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
            if not any(path.iterdir()):
                path.rmdir()
        return changed + gone

    def _add(self, name: str, value: Json) -> None:
        self.files[name] = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _add_code(self, stage: str) -> None:
        code = self._code
        runs = code.closure([f"stages.{stage}"])
        self.files[f"code/{stage}"] = f"{code.digest(runs)}\n"
        may_run = runs | code.closure(LOADED_BY_NAME.get(stage, []))
        listed = {module: code.sha256[module] for module in sorted(may_run)}
        for module in sorted(runs):
            listed |= code.others.get(module, {})
        self._add(f"run/code/{stage}.json", listed)

    def _kinds(self, *settings: Any, words: bool = False) -> Json:
        """Digests of the code of the kinds that settings name.

        `words`: with what only people read, for stages that write it.
        """
        return {
            name: self._code.digest(self._code.closure([name]), wordless="" if words else name)
            for name in sorted(set(kinds_in(settings)))
        }

    def _add_dataset(self, name: str, dataset: Dataset) -> None:
        pack, free_pack = split(dataset.pack)
        free_train, free_evaluate = split(dataset.train)[1], split(dataset.evaluate)[1]
        self._add(
            f"run/{name}.json", {"pack": free_pack, "train": free_train, "evaluate": free_evaluate}
        )
        sources = dataset.captions.sources
        self._add(
            f"{name}/captions.json",
            {
                "settings": {"captions": _plain(dataset.captions)},
                "packages": {
                    package: version
                    for source in sources.values()
                    for package, version in package_versions(source.packages).items()
                },
                "files": {
                    str(path): self._files.sha256(path)
                    for path in files_outside(dataset.captions.named(), Path("data/raw") / name)
                },
                "kinds": self._kinds(dataset.captions),
            },
        )
        vision, text = dataset.towers.vision, dataset.towers.text
        frozen = {
            "vision": vision if vision.frozen and dataset.model.reads(VISION) else None,
            "text": text if text.frozen else None,
        }
        self._add(
            f"{name}/embed.json",
            {
                "settings": {
                    "embed": _plain(dataset.embed),
                    **{side: tower and _plain(tower) for side, tower in frozen.items()},
                },
                **self._behind(*(tower for tower in frozen.values() if tower is not None)),
                "sentence_model": model_fingerprint(
                    dataset.embed.model, self._files, sentence=True
                ),
            },
        )
        clusterings = clusterings_of(self._config, name)
        self._add(
            f"{name}/cluster.json",
            {
                "settings": {"clusterings": _plain(clusterings)},
                "files": {
                    path: self._files.sha256(Path(path)) if Path(path).is_file() else "none"
                    for clustering in clusterings.values()
                    for path in clustering.files
                },
                "kinds": self._kinds(clusterings, words=True),
            },
        )
        streams = {name: kind.packed for name, kind in dataset.streams.items()}
        self._add(
            f"{name}/pack.json",
            {
                "settings": {"pack": pack, "streams": streams},
                "kinds": self._kinds(dataset.streams),
            },
        )
        of_shift = set(ShiftSettings.model_fields)
        cells = {
            method: self._config.cells[name, method]
            for method in self._config.grid.methods
            if (name, method) in self._config.cells
        }
        methods = {m: cell.model_dump(mode="json", include=of_shift) for m, cell in cells.items()}
        self._add(
            f"{name}/shift.json",
            {
                "settings": {"methods": methods},
                "kinds": self._kinds(*(cell.shift for cell in cells.values())),
            },
        )

    def _behind(self, *towers: VisionKind | TextKind | ModelKind) -> Json:
        """What stands behind the names of towers and models, weights and tokenizers."""
        weights: dict[str, str] = {}
        packages: dict[str, str] = {}
        for tower in towers:
            packages |= package_versions(tower.packages)
            sentence = isinstance(tower, TextKind) and not tower.tokens
            for spec in tower.models:
                weights[spec] = model_fingerprint(spec, self._files, sentence=sentence)
        return {"weights": weights, "packages": packages, "kinds": self._kinds(*towers)}

    def _add_cell(self, name: str, method: str, cell: Method) -> None:
        dataset, seeds = self._config.datasets[name], list(self._config.grid.seeds)
        train, free = split(dataset.train)
        if dataset.train.stream is not None:  # each process reads shards of its own
            train["workers"] = free["workers"]
        towers = dataset.towers
        trained = [tower for tower in (towers.vision, towers.text) if not tower.frozen]
        behind = self._behind(*trained, dataset.model)
        streams = {n: s for n, s in dataset.streams.items() if dataset.model.reads(n)}
        measure = dataset.measure
        without_shift = cell.model_copy(update={"shift": None})  # it is a table here
        self._add(
            f"{name}/{method}/train.json",
            {
                "settings": {
                    "method": _plain(cell),
                    "towers": _plain(towers),
                    "model": _plain(dataset.model),
                    "streams": _plain(streams),
                    "train": train,
                    "measure": measure.model_dump(mode="json", exclude=measure.not_validated),
                    "seeds": seeds,
                },
                **behind,
                "kinds": {
                    **behind["kinds"],
                    **self._kinds(without_shift, dataset.train, streams, measure),
                },
            },
        )
        evaluate = split(dataset.evaluate)[0] | {"measure": _plain(measure)}
        self._add(
            f"{name}/{method}/evaluate.json",
            {
                "settings": {"evaluate": evaluate, "seeds": seeds},
                "kinds": {**behind["kinds"], **self._kinds(dataset.evaluate, streams, measure)},
            },
        )
