"""Re-ranking: which pairs a kind is asked for, and what `evaluate` makes of its scores."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from mmts.errors import InputError
from mmts.evaluation import evaluate
from mmts.kinds.measure import default_measure
from mmts.kinds.rerank import RerankKind
from mmts.metrics.recall import ranks_of
from mmts.metrics.scores import Both, RerankedScores, candidates
from mmts.search import Search
from mmts.settings.training import Evaluate
from tests.examples.adding import module_of
from tests.test_evaluation import SIZES, cell  # noqa: F401  a fixture
from tests.test_evaluation_graded import Samples, pairs_of

ALL = slice(0, None)


class Asked(RerankKind):
    """Scores pairs by TABLE, and tells ASKED what it was asked."""

    kind: Literal["asked"] = "asked"
    label = "a table"

    def score(
        self, model: Any, search: Search, first: Any, items: Any, captions: Any
    ) -> np.ndarray:
        ASKED.append((model, items.copy(), captions.copy()))
        found: np.ndarray = TABLE[items, captions]
        return found


ASKED: list[tuple[Any, np.ndarray, np.ndarray]] = []
TABLE = np.random.default_rng(1).standard_normal((50, 50))


class Short(Asked):
    def score(self, *_: Any) -> np.ndarray:
        return np.zeros(3)


class Directed(RerankKind):
    """Turns the order of text queries' candidates, and keeps that of the others."""

    kind: Literal["directed"] = "directed"
    label = "the direction"

    def rescore(self, model: Any, search: Search, first: Any, chosen: Both) -> Both:
        rank = Both(*(np.tile(np.arange(of.shape[1]), (len(of), 1)) for of in chosen))
        return Both(rank.t2v, -rank.v2t)


@pytest.fixture
def search(cell: Any) -> tuple[Search, Any]:  # noqa: F811
    """The items of source a, and their first scores."""
    vision, text, pairs = cell
    items = np.arange(18)
    found = Search(pairs, items, np.flatnonzero(pairs.owner < 18))
    return found, found.scores(vision, text)


def test_a_search_is_of_some_rows_of_a_split(cell: Any, search: Any) -> None:  # noqa: F811
    vision, text, pairs = cell
    second = Search(pairs, np.arange(18, 24), np.flatnonzero(pairs.owner >= 18))
    assert second.owner.tolist() == [pairs.owner[c] - 18 for c in second.captions]
    block = second.scores(vision, text).v2t(ALL)
    assert np.array_equal(block, vision[18:] @ text[second.captions].T)


def test_a_kind_is_asked_once_for_each_pair_item_by_item(search: Any) -> None:
    task, first = search
    kind = Asked()
    ASKED.clear()
    chosen = candidates(first, 4)
    new = kind.rescore("model", task, first, chosen)
    ((model, items, captions),) = ASKED
    wanted = {(i, c) for c, of in enumerate(chosen.t2v.tolist()) for i in of}
    wanted |= {(i, c) for i, of in enumerate(chosen.v2t.tolist()) for c in of}
    assert model == "model" and (np.diff(items) >= 0).all()
    assert list(zip(items.tolist(), captions.tolist(), strict=True)) == sorted(wanted)
    for caption, of in enumerate(chosen.t2v):
        assert new.t2v[caption].tolist() == TABLE[of, caption].tolist()
    for item, of in enumerate(chosen.v2t):
        assert new.v2t[item].tolist() == TABLE[item, of].tolist()


def test_scores_for_other_pairs_are_refused(search: Any) -> None:
    task, first = search
    kind = Short()
    with pytest.raises(InputError, match=r"evaluate.rerank asked gave \(3,\) scores for \(\d+,\)"):
        kind.rescore(None, task, first, candidates(first, 4))


@pytest.mark.parametrize("k", [3, 10_000])
def test_evaluate_gives_both_sets(cell: Any, k: int) -> None:  # noqa: F811
    vision, text, pairs = cell
    plain = evaluate(*cell, SIZES, Evaluate(bootstrap=200, seed=1))
    kind = Asked(candidates=k)
    ASKED.clear()
    settings = Evaluate(bootstrap=200, seed=1).model_copy(update={"rerank": kind})
    found = evaluate(*cell, SIZES, settings, "model")
    assert [model for model, _, _ in ASKED] == ["model", "model"]  # two sources
    assert found.retrievals == plain.retrievals
    assert found.queries[list(plain.queries)].equals(plain.queries)
    assert list(found.queries)[len(list(plain.queries)) :] == ["rerank/rank"]
    for source, rows in (("a", slice(0, 18)), ("b", slice(18, 24))):
        items = np.arange(24)[rows]
        task = Search(pairs, items, np.flatnonzero(np.isin(pairs.owner, items)))
        first = task.scores(vision, text)
        chosen = candidates(first, k)
        new = Both(
            np.take_along_axis(TABLE[: first.items, : first.captions].T, chosen.t2v, 1),
            np.take_along_axis(TABLE[: first.items, : first.captions], chosen.v2t, 1),
        )
        ranks = ranks_of(RerankedScores(first, chosen, new), task.owner)
        own = found.queries[found.queries["source"] == source]
        assert own["rerank/rank"].tolist() == [*ranks.t2v, *ranks.v2t]
        of = found.metrics[source]
        again = {n.removeprefix("rerank/"): v for n, v in of.items() if n.startswith("rerank/")}
        assert again.keys() == plain.metrics[source].keys()
        assert {n: v for n, v in of.items() if n in again} == plain.metrics[source]
        assert again["t2v/R@1"] == (ranks.t2v == 1).mean()
        tail = own[(own["part"] == "tail") & (own["direction"] == "v2t")]["rerank/rank"]
        assert again["tail/v2t/R@5"] == pytest.approx((tail <= 5).mean())
        assert again["rsum/low"] <= again["rsum"] <= again["rsum/high"]
        said = default_measure(graded=False).summary(again)
        assert found.told(source).endswith(f"; re-ranked: {said}")
    assert found.judges["rerank"]["candidates"] == k and found.judges["measure"]["kind"] == "recall"


def test_directions_may_have_scores_of_their_own(cell: Any) -> None:  # noqa: F811
    settings = Evaluate(bootstrap=100).model_copy(update={"rerank": Directed(candidates=5)})
    rows = evaluate(*cell, SIZES, settings).queries
    t2v, v2t = (rows[rows["direction"] == d] for d in ("t2v", "v2t"))
    assert (v2t["rank"] == v2t["rerank/rank"]).all()
    inside = t2v["rank"] <= 5
    assert (t2v["rank"] + t2v["rerank/rank"] == 6)[inside].all() and inside.any()
    assert (t2v["rank"] == t2v["rerank/rank"])[~inside].all()


def test_graded_metrics_are_reranked_too() -> None:
    """The relevancy itself as new scores of all: nothing is better."""
    pairs = pairs_of(Samples())
    rng = np.random.default_rng(0)
    vision, text = rng.standard_normal((2, 30, 6)).astype(np.float32)
    measure = default_measure(graded=True)

    class Perfect(RerankKind):
        kind: Literal["perfect"] = "perfect"
        label = "the answers"

        def rescore(self, model: Any, search: Search, first: Any, chosen: Both) -> Both:
            gains = [
                np.stack([measure.gains(search, d, query) for query in range(len(of))])
                for d, of in chosen._asdict().items()
            ]
            return Both(*(np.take_along_axis(g, c, 1) for g, c in zip(gains, chosen, strict=True)))

    settings = Evaluate(bootstrap=100).model_copy(update={"rerank": Perfect()})
    found = evaluate(vision, text, pairs, SIZES, settings)
    for of in found.metrics.values():
        assert of["nDCG/avg"] < 0.9 and of["rerank/nDCG/avg"] == pytest.approx(1)
        assert of["rerank/mAP/avg"] == pytest.approx(1)


# --- the example -------------------------------------------------------------------------------


def test_the_example_by_hand(cell: Any) -> None:  # noqa: F811
    pairs = cell[2]
    kind = module_of("rerank").Kind(kind="shared_words", weight=0.0)
    # item 0 says "text 0 0", "text 0 1", "text 0 2"; item 1 "text 1 0"
    search = Search(pairs, np.array([0, 1]), np.arange(4))
    first = search.scores(*cell[:2])
    found = kind.score(None, search, first, np.array([0, 0, 1, 1]), np.array([0, 3, 0, 3]))
    # {text, 0} of {text, 0, 1, 2}; {text, 0, 1} of the same; {text, 0} of {text, 1, 0}; no others
    wanted = [3 / 4 - 1 / 4, 3 / 4, 2 / 3, 0]
    assert found.tolist() == pytest.approx(wanted)
