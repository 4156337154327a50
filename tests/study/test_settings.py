"""Mistakes in study/params.yaml: one line that names the key, before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from mmts.errors import InputError
from mmts.study.settings import combinations, load_study
from tests.conftest import Project
from tests.study.conftest import FILE, planned, write_study

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"trials": 3}, "methods.base.grids has 2 combinations, but trials is 3 and all methods get"),
    ({"methods": {}}, "methods is {}; dictionary should have at least 1 item"),
    (
        {"methods__bose": {"grids": [{"alpha": [0, 0.1]}]}},
        "params.yaml: there is no method bose; did",
    ),
    ({"methods__base__grids": [{"centre": [0.1, 0.1]}]}, "methods.base.grids: {'centre': 0.1} tra"),
    ({"methods__base__grids": [{"alpa": [0, 0.1]}]}, "methods.base.alpa is not a setting; did you"),
    ({"methods__base__grids": [{"train.epoch": [1, 2]}]}, "methods.base.train.epoch is not a set"),
    ({"methods__base__grids": [{"train.head.dims": [1, 2]}]}, "methods.base.train.head.dims is no"),
    ({"methods__base__grids": [{"clustering.kk": [1, 2]}]}, "methods.base.clustering.kk is not a"),
    ({"methods__base__grids": [{"modulator.tau": [1, 2]}]}, "methods.base.modulator.tau is not a"),
    ({"methods__base__grids": [{"objective.rho": [1, 2]}]}, "base.objective.rho is not a setting"),
    ({"methods__base__grids": [{"train.epochs": [0, 1]}]}, "methods.base.train.epochs is 0; it"),
    ({"methods__base__grids": [{"centre": [-1.0, 0.1]}]}, "methods.base.centre is -1.0; it should"),
    ({"methods__base__grids": [{"centre": [None, 0.1]}]}, "methods.base has a null among centre;"),
    ({"methods__base__grids": [{"shifts": [0.1, 0.2]}]}, "methods.base.shifts is 0.1; it should"),
    ({"methods__base__grids": [{"shifts": [[0.1], [1]]}]}, "methods.base.shifts.1 is missing; add"),
    ({"methods__base__grids": [{"spread": [0.1, 0.2]}]}, "base.spread is a share of a centre; add"),
    (
        {"methods__base__grids": [{"centre": [0.1, 0.2], "shift_min": [0.1]}]},
        "methods.base gives shift_min, which its centre or shifts give too; remove one",
    ),
    (
        {
            "methods__base__grids": [
                {"centre": [0.1, 0.2], "alpha_share": [2.0], "schedule": ["cosine"]}
            ]
        },
        "methods.base: shift_min - alpha/2 is 0.1 - 0.2/2 = 0; a temperature must stay above 0",
    ),
    ({"seeds__trials": [1]}, "seeds.trials and seeds.results have 1 in common; change one of them"),
    ({"seeds__ablations": [10]}, "seeds.trials and seeds.ablations have 10 in common; change one"),
    ({"seeds__results": [0, 0]}, "seeds.results is [0, 0]; name each seed once"),
    ({"ablations__k": {"methods": ["bose"]}}, "ablations.k.methods names bose, which `methods` "),
    (
        {"ablations__k": {"methods": ["mmts"], "grid": {"clustering.kk": [3]}}},
        "ablations.k.clustering.kk is not a setting; did you mean k?",
    ),
    (
        {"ablations__imbalance__grid": {"imbalance": [4]}},
        "ablations.imbalance: imbalance is 4, above tail.largest_ratio, 3; lower it",
    ),
    ({"tail__classes": 1}, "tail.classes is 1; it should be greater than or equal to 2"),
    ({"datasets": ["nonsense"]}, "params.yaml: there is no dataset nonsense; there are: tiny"),
    (
        {"set_aside": [{"why": "a", "methods": ["bose"]}]},
        "set_aside.0.methods names bose, which is",
    ),
    (
        {"set_aside": [{"why": "a", "datasets": ["tony"]}]},
        "names tony, which is not in this study;",
    ),
    ({"set_aside": [{"why": "a"}]}, "set_aside.0: it names nothing; give it datasets, methods, or"),
    ({"set_aside": [{"methods": ["base"]}]}, "set_aside.0.why is missing; add"),
    (
        {"set_aside": [{"why": "a", "methods": ["base", "mmts"]}]},
        "set_aside leaves no method on tiny; set the dataset aside instead",
    ),
    ({"colour": 1}, "colour is not a setting; "),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_a_mistake(study: Project, changes: dict[str, Any], message: str) -> None:
    write_study(**changes)
    ran = study.run("study")
    assert ran.code == 1 and ran.out == ""
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert message in ran.err and "params.yaml" in ran.err and ": :" not in ran.err
    assert sorted(path.name for path in FILE.parent.iterdir()) == [FILE.name]


def test_a_dataset_that_is_not_of_the_study(study: Project) -> None:
    ran = study.run("study", "--dataset", "nonsense")
    assert (ran.code, ran.err) == (
        1, "error: dataset nonsense is not in study/params.yaml; there are: tiny\n",
    )  # fmt: skip
    write_study(cuda_datasets=["other"])
    found = load_study(FILE)
    assert found.named([], "", gpu=False) == ("tiny",)
    assert found.named([], "", gpu=True) == ("tiny", "other")
    assert found.named(["other", "other"], "", gpu=False) == ("other",)


def test_what_is_set_aside(study: Project) -> None:
    write_study(
        cuda_datasets=["other", "more"],
        set_aside=[
            {"datasets": ["other"], "why": "a"},
            {"methods": ["base"], "datasets": ["tiny"], "why": "b"},
        ],
    )
    found = load_study(FILE)
    assert (found.aside("other"), found.aside("tiny")) == ("a", "")
    assert found.methods_aside("tiny") == {"base"} and found.methods_aside("more") == set()
    assert [aside.told() for aside in found.set_aside] == ["other: a", "base on tiny: b"]
    assert found.named([], "", gpu=True) == ("tiny", "more")
    with pytest.raises(InputError, match=r"dataset other is set aside in here; to train it, remo"):
        found.named(["other"], "here", gpu=True)


def test_a_method_with_a_clustering_of_its_own(study: Project) -> None:
    study.set(methods__mmts__clustering="kinds")
    with pytest.raises(InputError, match=r"params\.yaml: methods\.mmts\.clustering is not `def"):
        planned()


def test_combinations_change_the_last_key_fastest() -> None:
    assert combinations({"a": (1, 2), "b": (3, 4)}) == [
        {"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4},
    ]  # fmt: skip
    assert combinations({}) == [{}]
