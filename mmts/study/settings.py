"""The settings of a study: which methods, what is tried of each, and what is varied then."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from mmts.errors import InputError, known
from mmts.params import read_params, validated
from mmts.settings.base import END, Name, Positive, Seed, Settings

Changes = dict[str, Any]
"""What a cell has other than its method in params.yaml; the keys are those of `Grid`."""

Values = Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]


def _once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"it is {list(seeds)}; name each seed once")
    return seeds


Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, strict=False), AfterValidator(_once)]
Grid = dict[str, Values]
"""Values of each key; all combinations are tried. A key is

- a setting of the method, such as `alpha` or `objective.rho`;
- `centre`, `alpha_share`, `spread`: a tau, of which the others are shares: alpha is centre x
  alpha_share, and the shifts are centre x (1 - spread) and centre x (1 + spread);
- `shifts`: shift_min and shift_max as a list;
- `clustering.` and a setting of the dataset's default clustering;
- `train.` and a setting of the dataset's recipe;
- `control`: `reversed` gives the smallest cluster the largest shift, `random` deals the shifts to
  the clusters;
- `imbalance`: training items are drawn so that the largest of `tail.classes` classes is so many
  times larger than the smallest. The drawn classes are the clusters of the method then.
"""


class SeedLists(Settings):
    """Seeds of the weights, the order and dropout."""

    trials: Seeds
    """Of the trials; others than the rest."""
    results: Seeds
    """Of the chosen settings."""
    ablations: Seeds
    """Of what is varied then."""


class Searched(Settings):
    """What is tried of a method; the setting with the best validation rsum is chosen."""

    grids: Annotated[tuple[Grid, ...], Field(min_length=1, strict=False)]

    def trials(self) -> list[Changes]:
        """All combinations of each grid."""
        return [changes for grid in self.grids for changes in combinations(grid)]


class Ablation(Settings):
    """Chosen methods with something changed."""

    methods: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    grid: Grid = Field(default_factory=dict)
    tuned: bool = True
    """Whether the methods have their chosen numbers, or those of params.yaml."""
    all_seeds: bool = False
    """Whether to use the seeds of the results."""


class Tail(Settings):
    """How long-tailed training splits are drawn."""

    classes: Annotated[int, Field(ge=2, lt=END)]
    """Classes that the sizes are of, by K-Means on the training captions."""
    largest_ratio: Annotated[float, Field(ge=1)]
    """Of the largest class's size to the smallest's. All splits have one number of items, the most
    that this ratio allows."""
    batch_size: Annotated[int, Field(ge=2, lt=END)]
    steps: Positive
    """Of a training, about: it has as many epochs as come nearest."""


class SetAside(Settings):
    """Results that no longer hold: not shown and not trained again; their records stay."""

    datasets: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Of which all results are set aside, or those of `methods` where some are named."""
    methods: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Set aside on all datasets, or on `datasets` where some are named."""
    why: Annotated[str, Field(min_length=1)]
    """A sentence, which the report shows."""

    @model_validator(mode="after")
    def _of_something(self) -> SetAside:
        if not self.datasets and not self.methods:
            raise ValueError("it names nothing; give it datasets, methods, or both")
        return self

    def of(self, dataset: str) -> bool:
        """Return whether it is of the dataset, or of methods on it."""
        return not self.datasets or dataset in self.datasets

    def told(self) -> str:
        """Return what is set aside and why, such as `clip on flickr8k: its rules changed.`"""
        parts = (", ".join(self.methods), ", ".join(self.datasets))
        return f"{' on '.join(part for part in parts if part)}: {self.why}"


class Study(Settings):
    """A study, as it stands in `study/params.yaml`."""

    datasets: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    cuda_datasets: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Studied too where there is a GPU."""
    trials: Positive
    """Trials of every method."""
    seeds: SeedLists
    methods: Annotated[dict[Name, Searched], Field(min_length=1)]
    ablations: dict[Name, Ablation]
    tail: Tail
    set_aside: Annotated[tuple[SetAside, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _equal_trials(self) -> Study:
        for name, searched in self.methods.items():
            count = len(searched.trials())
            if count != self.trials:
                raise ValueError(
                    f"methods.{name}.grids has {count} combinations, but trials is {self.trials} "
                    "and all methods get as many; change one of them"
                )
        for part in ("results", "ablations"):
            common = set(self.seeds.trials) & set(getattr(self.seeds, part))
            if common:
                raise ValueError(
                    f"seeds.trials and seeds.{part} have {min(common)} in common; change one of "
                    "them, for a setting is not tested with a seed that it was chosen by"
                )
        for name, ablation in self.ablations.items():
            unknown = sorted(set(ablation.methods) - set(self.methods))
            if unknown:
                raise ValueError(
                    f"ablations.{name}.methods names {unknown[0]}, which `methods` here lacks; "
                    "add it there"
                )
        return self

    @model_validator(mode="after")
    def _aside(self) -> Study:
        for number, aside in enumerate(self.set_aside):
            for part, there in (("datasets", self.every_dataset), ("methods", self.methods)):
                for name in getattr(aside, part):
                    if name not in there:
                        raise ValueError(
                            f"set_aside.{number}.{part} names {name}, which is not in this study; "
                            f"{known(name, there)}"
                        )
        for dataset in self.every_dataset:
            if not self.aside(dataset) and self.methods_aside(dataset) == set(self.methods):
                raise ValueError(
                    f"set_aside leaves no method on {dataset}; set the dataset aside instead"
                )
        return self

    @property
    def every_dataset(self) -> tuple[str, ...]:
        """Those that are studied everywhere, then those that need a GPU."""
        return self.datasets + self.cuda_datasets

    def aside(self, dataset: str) -> str:
        """Return why all results on a dataset are set aside; empty where they are not."""
        return next((a.why for a in self.set_aside if not a.methods and a.of(dataset)), "")

    def methods_aside(self, dataset: str) -> set[str]:
        """Return the methods whose results on a dataset are set aside."""
        return {name for a in self.set_aside if a.of(dataset) for name in a.methods}

    def named(self, wanted: Sequence[str], where: str, *, gpu: bool) -> tuple[str, ...]:
        """The datasets that are wanted, or all that run here and are not set aside.

        Args:
            wanted: empty for all.
            where: the file of these settings.
            gpu: whether there is one.

        Raises:
            InputError: one that is wanted is of another study, or set aside.
        """
        every = self.every_dataset
        for name in wanted:
            if name not in every:
                raise InputError(f"dataset {name} is not in {where}; {known(name, every)}")
            if self.aside(name):
                raise InputError(
                    f"dataset {name} is set aside in {where}; to train it, remove it from "
                    "set_aside there, and its records"
                )
        runs = [n for n in (every if gpu else self.datasets) if not self.aside(n)]
        return tuple(dict.fromkeys(wanted or runs))


def combinations(grid: Grid) -> list[Changes]:
    """Every combination of the values; the last key changes fastest."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def load_study(path: Path) -> Study:
    """The settings in a file; InputError that names the first mistake."""
    return validated(Study, read_params(path), {(): ""}, str(path))
