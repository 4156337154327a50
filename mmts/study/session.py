"""A study under way: its datasets' plans and records, until nothing is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from mmts.study.plan import Plan
from mmts.study.pool import Record, Task, run_all
from mmts.study.records import Records
from mmts.study.run import opened
from mmts.study.settings import load_study


class Session:
    """All that the study of a folder has and lacks.

    Attributes:
        names: of its datasets.
        set_aside: what is neither trained nor shown, and why: a line each.
    """

    def __init__(self, folder: Path, wanted: Sequence[str]) -> None:
        """
        Args:
            folder: of the study.
            wanted: its datasets to work on; none for all that can be trained here.

        Raises:
            InputError: its settings or records are wrong.
        """
        self._folder, where = folder, folder / "params.yaml"
        self._study = load_study(where)
        self.names = self._study.named(wanted, str(where), gpu=torch.cuda.is_available())
        self.set_aside = tuple(aside.told() for aside in self._study.set_aside)
        self._plans = {name: Plan(self._study, name, str(where)) for name in self.names}
        self._towers = {name: plan.base.towers for name, plan in self._plans.items()}
        self._kept = {name: Records(folder, name) for name in self.names}

    def missing(self) -> dict[str, Task]:
        """By key, what can be trained now; more follows where a choice is made by it."""
        found = [plan.missing(self._kept[name].by_key) for name, plan in self._plans.items()]
        return {key: task for of_dataset in found for key, task in of_dataset.items()}

    def left(self) -> int:
        """Cells that are missing, with those that follow, as far as it can be told."""
        return sum(plan.left(self._kept[name].by_key) for name, plan in self._plans.items())

    def keep_queries(self, name: str) -> None:
        """Keep the test queries of a dataset, whose stages must have run."""
        data = opened(name, self._towers[name].model_dump_json())
        self._kept[name].keep_queries(data.queries(self._study.tail))

    def train(self, processes: int) -> None:
        """Train until nothing is missing; see `run_all`."""

        def keep(record: Record) -> None:
            self._kept[record["dataset"]].add(record)
            bar.set_postfix_str(f"{record['dataset']} {record['name']}", refresh=False)
            bar.update()

        with tqdm(total=self.left(), desc="study", unit="cell", smoothing=0.05) as bar:
            while tasks := self.missing():
                run_all(tasks, self._towers, processes, keep)
                bar.total = bar.n + self.left()

    def write(self) -> None:
        """Write the indices of complete studies.

        Records that they do not name go, but for those of methods that are set aside.
        """
        for name, plan in self._plans.items():
            kept, aside = self._kept[name], self._study.methods_aside(name)
            index = plan.index(kept.by_key)
            keys = index.keys()
            kept.tidy(keys | {k for k, r in kept.by_key.items() if r.get("name") in aside})
            index.write(self._folder)
            print(f"{kept.path}: all {len(keys)} cells are there")
