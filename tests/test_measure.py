"""Mistakes in the file of a measure are told before they cost a training, or give wrong numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmts.errors import InputError
from mmts.evaluation import evaluate
from mmts.kinds.measure import MEASURES, Column, MeasureKind, Told, Total, default_measure
from mmts.kinds.measure._checked import check_facts
from mmts.metrics.scores import Both
from mmts.settings.training import Evaluate
from mmts.training.pairs import Pairs
from mmts.training.validation import rehearse, validate
from tests.examples.adding import module_of, tiny
from tests.test_evaluation import SIZES, Samples

REFUSED = r"mmts/kinds/measure/reciprocal_rank\.py: "
Kind = module_of("reciprocal_rank").Kind


def measure_with(**facts: Any) -> MeasureKind:
    """The example, with other facts or methods."""
    found: MeasureKind = type("Kind", (Kind,), facts)(kind="reciprocal_rank")
    return found


@pytest.mark.parametrize("kind", ["recall", "multi_instance"])
def test_the_measures_are_sound(kind: str) -> None:
    check_facts(MEASURES.validated(kind))
    check_facts(measure_with())
    if kind == "recall":
        check_facts(MEASURES.validated({"kind": kind, "ks": [1, 50]}))


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"first": "MRR"}, r"first is MRR, which is none; .*there are: MRR/avg"),
        ({"totals": {"MRR/avg": Total(("MR",), 1)}},
         r"totals\['MRR/avg'\] sums MR, which is none; did you mean MRR\? there are: MRR"),
        ({"validated": {"MRR": "avg/MRR"}}, r"validated has avg/MRR, which is none; .*: MRR/t2v"),
        ({"drawn": ("MRR", "R@1")}, r"drawn has R@1, which is none; there are: MRR"),
        ({"by_part": (("MRR", "MRR/all"),)}, r"by_part has MRR/all, which is none; did you "),
        ({"headline": {"MRR": "tail/MRR"}}, r"headline has tail/MRR, which is none; "),
        ({"points": ("mrr",)}, r"points has mrr, which is none; did you mean MRR\? "),
        ({"told": Told("", (("MRR/low", 1),), "{}")}, r"told has MRR/low, which is none; "),
        ({"overall": property(lambda _: (("", (("", "MRR/v2v"),)),))},
         r"overall has MRR/v2v, which is none; "),
        ({"key": lambda _, metric, direction: metric},
         r"two of its numbers have the key MRR; tell them apart in key"),
        ({"numbers": lambda _, queries: None}, r"`numbers` gives no mapping of metrics; give a n"),
    ],
)  # fmt: skip
def test_a_number_that_is_none(facts: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=REFUSED + problem):
        check_facts(measure_with(**facts))


def test_numbers_that_are_fine() -> None:
    """Of groups of queries, counted ones, and bounds."""
    counts = {"counts": lambda _, queries, direction: {f"odd/{direction}": len(queries)}}
    headline = {"a": "tail/MRR/avg", "b": "tail_verb/MRR/t2v", "c": "odd/t2v", "d": "MRR/avg/low"}
    check_facts(measure_with(**counts, headline=headline, by_part=(("odd", "odd/v2t"),)))


def pairs() -> Pairs:
    return Pairs(
        Samples(), vision_rows=None, image_size=16,  # type: ignore[arg-type]
        encode_text=lambda c, _: torch.zeros(len(c), 1),
    )  # fmt: skip


def changed(change: Callable[[Both], Any]) -> Any:
    """A `values` that gives something else."""
    return lambda self, search, scores: {
        name: change(both) for name, both in Kind.values(self, search, scores).items()
    }


def nan(both: Both) -> Both:
    return Both(both.t2v, np.where(np.arange(len(both.v2t)) == 2, np.nan, both.v2t))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"values": changed(lambda both: Both(both.v2t, both.t2v))},
     r"t2v of reciprocal_rank that `values` gives has the shape \(\d\d?,\); give \(\d\d,\), a c"),
    ({"values": changed(nan)},
     r"v2t of reciprocal_rank that `values` gives has nan; give finite numbers from 0 to 1, as"),
    ({"values": changed(lambda both: Both(both.t2v * 2, both.v2t))}, r"t2v of .* from 0 to 1, as "),
    ({"values": changed(lambda both: both.t2v)}, r"reciprocal_rank that .* is a ndarray; give"),
    ({"values": changed(lambda both: Both(both.t2v.astype(str), both.v2t))},
     r"t2v of reciprocal_rank that `values` gives is of type <U\d+; give numbers, as its Column s"),
    ({"columns": {"rr": Column("number", 0, 1)}},
     r"`values` gives reciprocal_rank; give rr, as in columns"),
    ({"columns": {"reciprocal_rank": Column("whole", 0, 1)}}, "t2v .* float64; give whole numbers"),
    ({"values": lambda *_: None}, r"`values` gives NoneType; give reciprocal_rank, as in columns"),
    ({"numbers": lambda _, queries: {"MRR": queries["reciprocal_rank"].mean()}},
     r"MRR that `numbers` gives has the shape \(\); give \(\d+,\), a query each"),
    ({"numbers": lambda _, queries: {"MRR": np.log(queries["reciprocal_rank"] * 0)}},
     "MRR that `numbers` gives has -inf; give finite numbers"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(("facts", "problem"), WRONG)
def test_what_it_gives_is_checked(
    facts: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the test split, on the validation split, and on that before the first step."""
    measure, split = measure_with(**facts), pairs()
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((n, 6), np.float32) for n in (len(split), len(split.captions))]
    with pytest.raises(InputError, match=REFUSED + problem):
        evaluate(*rows, split, SIZES, Evaluate(bootstrap=100, measure=measure))
    split.measure = measure
    with pytest.raises(InputError, match=REFUSED + problem):
        rehearse(split)
    encoded = tuple(map(torch.from_numpy, rows))
    monkeypatch.setattr("mmts.training.validation.encode_split", lambda *_: encoded)
    with pytest.raises(InputError, match=REFUSED + problem):
        validate(None, split, torch.device("cpu"), 8, 0)  # type: ignore[arg-type]


def test_a_part_of_the_split_may_be_too_little() -> None:
    def refuse(*_: Any) -> Any:
        raise InputError("v2t query s0 has no sentence of relevancy 1")

    split = pairs()
    split.measure = measure_with(values=refuse)
    rehearse(split)


def test_a_rehearsal_draws_no_number_of_the_training() -> None:
    before, split = torch.get_rng_state(), pairs()
    state = np.random.get_state()[1].tolist()
    for measure in (None, measure_with()):
        split.measure = measure
        rehearse(split)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == state


def test_two_measures_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_measure(graded=False).kind == "recall"
    assert default_measure(graded=True).kind == "multi_instance"
    load = MEASURES.load
    second = type("Kind", (Kind,), {"default": True})
    monkeypatch.setattr(type(MEASURES), "kinds", ["multi_instance", "recall", "reciprocal_rank"])
    monkeypatch.setattr(MEASURES, "load", lambda k: second if k == "reciprocal_rank" else load(k))
    problem = "recall, reciprocal_rank of mmts/kinds/measure has default = True and graded = False"
    with pytest.raises(InputError, match=re.escape(problem)):
        default_measure(graded=False)
    assert default_measure(graded=True).kind == "multi_instance"
    monkeypatch.setattr(MEASURES, "load", lambda _: Kind)
    with pytest.raises(
        InputError, match=r"^none of mmts/kinds/measure has default = True and grad"
    ):
        default_measure(graded=True)


@pytest.mark.long
def test_the_plan_tells_it(tmp_path: Path, warm_commands: Path) -> None:
    project = tiny(tmp_path / "p", "reciprocal_rank", methods=["info_nce"], seeds=[0])
    project.use(warm_commands)
    path = project.folder / "mmts/kinds/measure/reciprocal_rank.py"
    text = path.read_text(encoding="utf-8")
    plan = "rm -rf mmts/kinds/measure/__pycache__; python -m stages.plan"  # edits of one second
    for fact, wrong, line in (
        ('first = "MRR/avg"', 'first = "MRR"', "first is MRR, which is none; did you mean"),
        ('validated = {"MRR": "MRR/avg"}', 'validated = {"MRR": "MR"}', "validated has MR, which"),
    ):
        assert fact in text
        path.write_text(text.replace(fact, wrong), encoding="utf-8")
        said = project.run(plan, ok=False)
        assert f"error: mmts/kinds/measure/reciprocal_rank.py: {line}" in said
        assert "Traceback" not in said
    path.write_text(text, encoding="utf-8")
    assert "is fine" in project.run(plan)
    path.write_text(text.replace('drawn = ("MRR",)', 'drawn = ("R@1",)'), encoding="utf-8")
    said = project.run(plan, ok=False)  # although nothing would be measured anew
    assert "reciprocal_rank.py: drawn has R@1, which is none; there are: MRR" in said
    path.write_text(text.replace("by_item = True", "by_item = True\n    default = True"))
    assert "is fine" in project.run(plan)  # the dataset names one
    project.set(datasets__my_pairs__evaluate={})
    said = project.run(plan, ok=False)
    assert "error: recall, reciprocal_rank of mmts/kinds/measure has default = True" in said
