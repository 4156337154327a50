"""A small finished study, made up: six methods, two seeds, ten items with three captions each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mmts.study.index import Entry, Index
from mmts.study.records import Records, packed

SEEDS = (0, 1)
OTHER_SEEDS = (5, 1)
"""Of `features`: one of them is a seed of the chosen settings."""
CENTRES = (0.01, 0.02, 0.03)
ITEMS, EACH = 10, 3
SIZES = [50, 9, 5, 1]
HOSTILE = "<script>alert(1)</script>"
METHODS = {  # by name, how good it is on the test split
    "info_nce": 0.0, "info_nce_ts": 0.0, "max_margin_mmts": 0.7, "info_nce_mmts": 0.0,
    "max_margin": 0.6, "clip": -0.4,
}  # fmt: skip
ABLATIONS: dict[str, list[dict[str, Any]]] = {
    "controls": [{"control": "reversed"}, {"control": "random"}],
    "features": [{"clustering.features": HOSTILE}],
    "ranges": [{"shifts": [0.02, 0.04], "alpha": 0.01}, {"shifts": [0.02, 0.04], "alpha": 0.05}],
}
SETTINGS = {
    "datasets": ["toy"],
    "cuda_datasets": ["toy_trained"],
    "trials": len(CENTRES),
    "seeds": {"trials": [9], "results": list(SEEDS), "ablations": list(SEEDS)},
    "methods": {name: {"grids": [{"centre": list(CENTRES)}]} for name in METHODS},
    "ablations": {},
    "tail": {"classes": 4, "largest_ratio": 50, "batch_size": 8, "steps": 10},
}


def queries() -> pd.DataFrame:
    """Captions first, as in a study; parts and classes differ by item."""
    items = np.repeat(np.arange(ITEMS), EACH)
    both = np.concatenate([items, np.arange(ITEMS)])
    return pd.DataFrame(
        {
            "direction": ["t2v"] * len(items) + ["v2t"] * ITEMS,
            "item": both.astype(np.int32),
            "part": np.array(["head", "medium", "tail"])[both % 3],
            "class": (both % 4).astype(np.int32),
        }
    )


def write_study(folder: Path, abilities: dict[str, float] | None = None) -> None:
    """Settings, index, records and queries.

    `abilities` are of methods, of info_nce_mmts with a control (`random`), and of a method at an
    imbalance (`info_nce_mmts at 50`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(SETTINGS))
    queries().to_parquet(folder / "toy.parquet", index=False)
    make = _Maker(Records(folder, "toy"), METHODS | (abilities or {}))
    trials, chosen = [], []
    for name in METHODS:
        for centre in CENTRES:
            trials.append(make.entry(name, {"centre": centre}, {}, (9,), tested=False))
        chosen.append(make.entry(name, {"centre": 0.03}, {}, SEEDS))
    ablations = {
        ablation: tuple(
            make.entry(
                "info_nce_mmts",
                {"centre": 0.03} | varied,
                varied,
                OTHER_SEEDS if ablation == "features" else SEEDS,
            )
            for varied in of_all
        )
        for ablation, of_all in ABLATIONS.items()
    }
    ablations["imbalance"] = tuple(
        make.entry(name, {"centre": 0.03, "imbalance": ratio}, {"imbalance": ratio}, SEEDS)
        for name in ("info_nce", "info_nce_mmts")
        for ratio in (1, 50)
    )
    ablations["fixed"] = tuple(
        make.entry("info_nce", {"centre": centre}, {"centre": centre}, SEEDS)
        for centre in CENTRES[1:]
    )
    ablations["components"] = tuple(
        make.entry(name, {}, {}, SEEDS) for name in ("info_nce", "info_nce_mmts")
    )
    Index("toy", tuple(trials), tuple(chosen), ablations).write(folder)


class _Maker:
    def __init__(self, records: Records, abilities: dict[str, float]) -> None:
        self.records, self.abilities = records, abilities
        self.hard = np.random.default_rng(0).normal(size=len(queries()))

    def entry(
        self, name: str, changes: dict[str, Any], varied: dict[str, Any], seeds: tuple[int, ...],
        tested: bool = True,
    ) -> Entry:  # fmt: skip
        if varied.get("alpha", 0) > 0.04:
            return Entry(name, changes, varied, ())
        what = "/".join([name, *map(str, changes.values())])
        keys = tuple(f"{what}/{seed}" for seed in seeds)
        for key, seed in zip(keys, seeds, strict=True):
            self.records.add(self._record(key, name, changes, varied, seed, tested))
        return Entry(name, changes, varied, keys)

    def _record(
        self, key: str, name: str, changes: dict[str, Any], varied: dict[str, Any], seed: int,
        tested: bool,
    ) -> dict[str, Any]:  # fmt: skip
        rng = np.random.default_rng(list(key.encode()))
        special = varied.get("control", f"{name} at {varied.get('imbalance')}")
        ability = self.abilities.get(special, self.abilities[name])
        noise = rng.normal(0, 0.15, len(self.hard))
        levels = np.digitize(self.hard - ability + noise, [-0.8, 0, 0.8]).astype(np.uint8)
        kind = "max_margin" if name.startswith("max_margin") else "info_nce"
        # validation prefers the other fixed row and MM-TS and, of the trials, the higher centre
        validated = {"info_nce": 310, "max_margin": 290, "max_margin_mmts": 280}.get(name, 300)
        validated += 100 * changes.get("centre", 0.0)
        record: dict[str, Any] = {
            "key": key, "dataset": "toy", "name": name, "seed": seed,
            "method": {"shift_min": 0.03, "shift_max": 0.03, "alpha": 0.01,
                       "objective": {"kind": kind}, "modulator": {"kind": "scheduled"}},
            "train": {"epochs": 2, "batch_size": 8, "learning_rate": 0.1, "weight_decay": 0.5,
                      "head": {"dim": 16}},
            "validation": {"val/rsum": validated + seed},
            "steps": 20, "items": 65, "cpu_seconds": 60.0 + seed, "device": "cpu",
            "torch": "2", "code": "c0de",
        }  # fmt: skip
        if "imbalance" in varied:
            record |= {"imbalance": varied["imbalance"]}
            record |= {"class_size": SIZES if varied["imbalance"] == 50 else [16] * 4}
        return record | ({"levels": packed(levels)} if tested else {})
