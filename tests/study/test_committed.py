"""The records that git has are those of study/params.yaml and params.yaml: nothing to train."""

from __future__ import annotations

from pathlib import Path

from mmts.study.index import read_index
from mmts.study.plan import Plan
from mmts.study.records import Records
from mmts.study.settings import load_study

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "study"


def test_nothing_is_missing() -> None:
    study = load_study(FOLDER / "params.yaml")
    for name in study.datasets:
        records = Records(FOLDER, name).by_key
        plan = Plan(study, name, "study/params.yaml", ROOT / "params.yaml")
        assert plan.missing(records) == {}, name
        assert plan.index(records) == read_index(FOLDER, name)
        assert plan.index(records).keys() == set(records)
