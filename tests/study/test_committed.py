"""The records that git has are those of study/params.yaml and params.yaml: nothing to train."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmts.study.index import read_index
from mmts.study.plan import Plan
from mmts.study.records import Records
from mmts.study.settings import load_study

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "study"
STUDY = load_study(FOLDER / "params.yaml")
SHOWN = [name for name in STUDY.datasets if not STUDY.aside(name)]


@pytest.mark.parametrize("name", SHOWN)
def test_nothing_is_missing(name: str) -> None:
    records = Records(FOLDER, name).by_key
    plan = Plan(STUDY, name, "study/params.yaml", ROOT / "params.yaml")
    assert plan.missing(records) == {}
    assert plan.index(records) == read_index(FOLDER, name)
    aside = {k for k, record in records.items() if record["name"] in STUDY.methods_aside(name)}
    assert plan.index(records).keys() == set(records) - aside


@pytest.mark.parametrize("name", STUDY.every_dataset)
def test_what_is_set_aside_could_be_trained_again(name: str) -> None:
    whole = STUDY.model_copy(update={"set_aside": ()})
    plan = Plan(whole, name, "study/params.yaml", ROOT / "params.yaml")
    assert {method: len(plan.trials(method)) for method in STUDY.methods} == dict.fromkeys(
        STUDY.methods, STUDY.trials
    )


@pytest.mark.parametrize("name", STUDY.datasets)
def test_rsum_is_100_times_the_sum_of_the_recalls(name: str) -> None:
    for record in Records(FOLDER, name).by_key.values():
        for part, start in (("validation", "val/"), ("test", "")):
            metrics = dict(record.get(part, {}))
            total = metrics.pop(f"{start}rsum", 0.0)
            assert total == pytest.approx(100 * sum(metrics.values())) and total <= 600


def test_nothing_quotes_what_is_set_aside() -> None:
    told = [aside.told() for aside in STUDY.set_aside]
    for name in ("study.md", "study.html", "study.csv"):
        text = (ROOT / "results" / name).read_text(encoding="utf-8")
        text = re.sub(r"\\(.)|data:image/png;base64,[^\"]*", r"\1", text)
        for sentence in told if name != "study.csv" else ():
            assert text.count(sentence) == 1
            text = text.replace(sentence, "")
        aside = [d for d in STUDY.every_dataset if STUDY.aside(d)]
        aside += [m for m in STUDY.methods if all(m in STUDY.methods_aside(d) for d in SHOWN)]
        assert [name for name in aside if name in text.lower()] == []
