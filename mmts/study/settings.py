"""The settings of a study: which methods, what is tried of each, and what is varied then."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from mmts.errors import InputError
from mmts.params import known, read_params, validated
from mmts.settings import END, Name, Positive, Seed, Settings

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
- `centre`, `alpha_share`, `spread`: a tau, of which the others are shares. tau_default and the
  shifts are centre, alpha is centre x alpha_share, and the shifts are centre x (1 - spread) and
  centre x (1 + spread);
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

    def named(self, wanted: Sequence[str], where: str, *, gpu: bool) -> tuple[str, ...]:
        """The datasets that are wanted, or all that run here; InputError for one of another study.

        Args:
            wanted: empty for all.
            where: the file of these settings.
            gpu: whether there is one.
        """
        every = self.datasets + self.cuda_datasets
        for name in wanted:
            if name not in every:
                raise InputError(f"dataset {name} is not in {where}; {known(name, every)}")
        return tuple(dict.fromkeys(wanted or (every if gpu else self.datasets)))


def combinations(grid: Grid) -> list[Changes]:
    """Every combination of the values; the last key changes fastest."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def load_study(path: Path) -> Study:
    """The settings in a file; InputError that names the first mistake."""
    return validated(Study, read_params(path), {(): ""}, str(path))
