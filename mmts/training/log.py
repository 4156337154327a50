"""The log of a run: a CSV for the report and `dvc plots`."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from types import TracebackType
from typing import Any

COLUMNS = (
    "step", "epoch", "loss", "tau_min", "tau_mean", "tau_max", "learning_rate", "grad_norm",
)  # fmt: skip
"""Columns that every log has. Those of further loss terms and of the measure follow, in the order
in which they come."""


class RunLog:
    """Collects logged points; writes `curves.csv` into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[str, float]] = []

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            with open(self._folder / "curves.csv", "w", newline="", encoding="utf-8") as file:
                columns = dict.fromkeys([*COLUMNS, *(name for row in self._rows for name in row)])
                writer = csv.DictWriter(file, list(columns))
                writer.writeheader()
                writer.writerows(self._rows)

    def point(self, step: int, epoch: int, **values: float) -> None:
        """Log values at a step; those of a step that was logged before join its row."""
        if not self._rows or self._rows[-1]["step"] != step:
            self._rows.append({"step": step, "epoch": epoch})
        row = self._rows[-1]
        for name, value in values.items():
            if row.get(name) != value:  # a run that goes on may validate once more
                row[name] = value if math.isfinite(value) else math.nan

    def state_dict(self) -> dict[str, Any]:
        """All rows so far, for a checkpoint."""
        return {"rows": [dict(row) for row in self._rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Log all rows of `state_dict` again, so that the files are as if nothing had happened."""
        for row in state["rows"]:
            values = {name: value for name, value in row.items() if name not in ("step", "epoch")}
            self.point(int(row["step"]), int(row["epoch"]), **values)
