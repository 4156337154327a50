"""What is trained when: trials, then what they choose, and ablations."""

from __future__ import annotations

from typing import Any

import pytest

from mmts.errors import InputError
from mmts.study.index import Index, read_index
from mmts.study.plan import Plan
from tests.conftest import Project
from tests.study.conftest import FILE, planned, write_study

Records = dict[str, dict[str, Any]]


@pytest.fixture
def plan(study: Project) -> Plan:
    return planned()


def record(rsum: float, test: bool = False) -> dict[str, Any]:
    return {"validation": {"val/rsum": rsum}, **({"test": {}} if test else {})}


def trials(plan: Plan, **rsums: list[float]) -> Records:
    """Records of the trials of some methods with these validation rsums."""
    keys = {name: [entry.keys[0] for entry in plan.trials(name)] for name in rsums}
    return {
        key: record(rsum)
        for name, of in rsums.items()
        for key, rsum in zip(keys[name], of, strict=True)
    }


def test_trials_are_first_and_chosen_by_validation(plan: Plan) -> None:
    tried = [key for name in ("base", "mmts") for e in plan.trials(name) for key in e.keys]
    first = plan.missing({})
    components = [key for e in plan.ablation("components", {}) for key in e.keys]
    assert list(first) == [*tried, *components]  # components need no choice
    assert [test for _, test in first.values()] == [False] * 4 + [True] * 2
    assert [cell.seed for cell, _ in first.values()] == [10] * 4 + [0] * 2
    records = trials(plan, base=[1.0, 2.0], mmts=[3.0, 3.0])
    best = plan.chosen("base", records)
    assert best is not None and best.changes == {"centre": 0.5} and len(best.keys) == 2
    assert best.keys != plan.trials("base")[1].keys
    equal = plan.chosen("mmts", records)
    assert equal is not None and equal.changes["centre"] == 0.1  # the first of equals
    tested = {key: record(9.0 - n, test=True) for n, key in enumerate(best.keys)}
    assert plan.chosen("base", {**records, **tested}) == best  # by trials alone


def test_the_choice_is_by_the_mean_of_the_trial_seeds(study: Project) -> None:
    write_study(seeds__trials=[10, 11])
    plan = planned()
    keys = [entry.keys for entry in plan.trials("base")]
    rsums = {keys[0][0]: 3.0, keys[0][1]: 1.0, keys[1][0]: 2.5, keys[1][1]: 2.0}
    best = plan.chosen("base", {key: record(rsum) for key, rsum in rsums.items()})
    assert best is not None and best.changes == {"centre": 0.5}


def test_nothing_follows_from_trials_that_are_not_all_done(plan: Plan) -> None:
    records = trials(plan, base=[1.0, 2.0], mmts=[3.0, 3.0])
    del records[plan.trials("mmts")[1].keys[0]]
    assert plan.chosen("mmts", records) is None
    index = plan.index(records)
    assert [entry.name for entry in index.chosen] == ["base"]
    assert {name: len(of) for name, of in index.ablations.items()} == {
        "seeds": 0, "components": 2, "controls": 0, "imbalance": 2, "ranges": 0,
    }  # fmt: skip
    names = [plan.missing(records)[key][0].name for key in plan.missing(records)]
    assert names == ["mmts", "base", "base", "base", "mmts", "base", "base"]


def test_until_nothing_is_missing(plan: Plan) -> None:
    records: Records = {}
    lefts = []
    while missing := plan.missing(records):
        lefts.append(plan.left(records))
        records |= {key: record(1.0, test) for key, (_, test) in missing.items()}
    assert lefts == [4 + 2 + 4 + 2 + 2 + 2 + 1, 4 + 2 + 2 + 2 + 1]  # components are done by then
    assert plan.left(records) == 0 and plan.index(records).keys() == set(records)
    assert all("test" in r for k, r in records.items() if plan.cells[k].seed != 10)
    untested = next(key for key, cell in plan.cells.items() if cell.seed == 1)
    del records[untested]["test"]
    assert list(plan.missing(records)) == [untested] and plan.missing(records)[untested][1]


def test_an_ablation_of_the_chosen_settings(plan: Plan) -> None:
    records = trials(plan, base=[1.0, 2.0], mmts=[3.0, 4.0])
    index = plan.index(records)
    chosen = {"centre": 0.2, "alpha_share": 0.5, "spread": 0.5}
    (seeds,) = index.ablations["seeds"]
    assert seeds.changes == {**chosen, "clustering.seed": 1} and len(seeds.keys) == 2
    assert seeds.varied == {"clustering.seed": 1}
    (cell,) = {plan.cells[key].clustering.model_dump_json() for key in seeds.keys}
    assert '"seed":1' in cell
    own, other = index.ablations["components"]
    assert (own.changes, other.changes) == ({}, {}) and len(own.keys) == 1
    kept, low = index.ablations["ranges"]
    assert kept.changes == {"shifts": [0.1, 0.3], "alpha": 0.08} and len(kept.keys) == 1
    assert low.changes == {"shifts": [0.1, 0.3], "alpha": 0.3} and low.keys == ()


def test_all_trials_of_all_methods_are_written_down(plan: Plan) -> None:
    records = trials(plan, base=[1.0, 2.0], mmts=[3.0, 4.0])
    index = plan.index(records)
    index.write(FILE.parent)
    assert read_index(FILE.parent, "tiny") == index and isinstance(index, Index)
    assert [e.name for e in index.trials] == ["base", "base", "mmts", "mmts"]
    assert sorted(path.name for path in FILE.parent.iterdir()) == ["params.yaml", "tiny.json"]
    for text in ("[]", "{}", '{"dataset": "tiny", "trials": [1], "chosen": [], "ablations": {}}'):
        (FILE.parent / "tiny.json").write_text(text)
        with pytest.raises(
            InputError, match=r"tiny\.json is no index of a study; run `make study`"
        ):
            read_index(FILE.parent, "tiny")


def test_another_order_of_methods_and_a_new_ablation_keep_the_keys(plan: Plan) -> None:
    keys = {key for name in ("base", "mmts") for e in plan.trials(name) for key in e.keys}
    write_study(ablations__more={"methods": ["base"]})
    again = planned()
    assert {key for n in ("mmts", "base") for e in again.trials(n) for key in e.keys} == keys
