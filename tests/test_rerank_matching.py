"""Re-ranking by `Model.match`: the pairs it scores, and what it keeps in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.kinds.rerank.matching import CAPTIONS, ITEMS, Kind
from mmts.metrics.recall import ranks_of
from mmts.metrics.scores import RerankedScores, candidates
from mmts.search import Search
from tests.towers.omni import batch, omni

CLIPS = 2 * ITEMS + 3


@pytest.fixture(scope="module")
def task() -> tuple[Any, Search, Any, list[int], list[tuple[int, int]]]:
    """A model, clips with two captions each, first scores, and what the model is asked."""
    torch.manual_seed(0)
    model = omni().eval()
    streams, _ = batch(CLIPS)
    text = torch.randint(1, 50, (2 * CLIPS, 7), generator=torch.Generator().manual_seed(1))

    def of(items: Any) -> dict[str, Tensor]:
        return {name: stream[items] for name, stream in streams.items()}

    pairs: Any = SimpleNamespace(text=text, streams=of, owner=np.repeat(np.arange(CLIPS), 2))
    search = Search(pairs, np.arange(CLIPS), np.arange(2 * CLIPS))
    with torch.inference_mode():
        first = search.scores(model.encode_vision(streams).rows, model.encode_text(text))
    encoded: list[int] = []
    matched: list[tuple[int, int]] = []
    whole, match = model.encode_vision, model.match

    def encode(streams: Any) -> Any:
        encoded.append(len(streams["audio"]))
        return whole(streams)

    def counted(context: Tensor, tokens: Tensor) -> Tensor:
        matched.append((len(context), tokens.shape[1]))
        return match(context, tokens)

    model.encode_vision, model.match = encode, counted  # type: ignore[method-assign]
    return model, search, first, encoded, matched


def test_each_candidate_gets_its_probability(task: Any) -> None:
    model, search, first, encoded, matched = task
    encoded.clear(), matched.clear()
    chosen = candidates(first, 5)
    with torch.inference_mode():
        new = Kind(kind="matching", candidates=5).rescore(model, search, first, chosen)
        context = omni_contexts(model, search)
        for caption, of in enumerate(chosen.t2v):
            for place, item in enumerate(of):
                logits = model.match(context[item][None], search.pairs.text[caption][None])
                wanted = logits.double().softmax(-1)[0, 1].item()
                assert new.t2v[caption, place] == pytest.approx(wanted, abs=1e-6)
    assert encoded[: len(encoded) - 1] == [ITEMS, ITEMS, 3]  # each clip once, a few at a time
    pairs = {(i, c) for c, of in enumerate(chosen.t2v.tolist()) for i in of}
    pairs |= {(i, c) for i, of in enumerate(chosen.v2t.tolist()) for c in of}
    asked = matched[:CLIPS]
    assert all(contexts == 1 for contexts, _ in asked) and sum(n for _, n in asked) == len(pairs)
    ranks = ranks_of(RerankedScores(first, chosen, new), search.owner)
    outside = [c for c, of in enumerate(chosen.t2v) if search.owner[c] not in of]
    assert outside and all(ranks[0][c] > 5 for c in outside)


def omni_contexts(model: Any, search: Search) -> Tensor:
    """The contexts of all clips."""
    found: Tensor = model.encode_vision(search.pairs.streams(search.items)).context
    return found


def test_fewer_clips_than_candidates_are_all_scored(task: Any) -> None:
    model, search, first, _, matched = task
    matched.clear()
    chosen = candidates(first, 50)
    assert chosen.t2v.shape == (2 * CLIPS, CLIPS) and chosen.v2t.shape == (CLIPS, 2 * CLIPS)
    with torch.inference_mode():
        new = Kind(kind="matching").rescore(model, search, first, chosen)
    assert sum(n for _, n in matched) == CLIPS * 2 * CLIPS
    by_pair = np.empty((2 * CLIPS, CLIPS))
    np.put_along_axis(by_pair, chosen.t2v, new.t2v, 1)
    again = np.empty((CLIPS, 2 * CLIPS))
    np.put_along_axis(again, chosen.v2t, new.v2t, 1)
    assert np.array_equal(by_pair, again.T)


def test_many_captions_of_a_clip_are_matched_in_parts(task: Any) -> None:
    model, search, first, _, matched = task
    matched.clear()
    captions = np.arange(2 * CLIPS).repeat(16)[: CAPTIONS + 9]
    with torch.inference_mode():
        found = Kind(kind="matching").score(
            model, search, first, np.zeros(len(captions), np.int64), captions
        )
    assert matched == [(1, CAPTIONS), (1, 9)]
    assert np.allclose(found[:16], found[0])


def test_a_model_without_matching_is_refused(task: Any) -> None:
    _, search, first, *_ = task
    with pytest.raises(InputError, match="trained without a loss term that matches; add `terms"):
        Kind(kind="matching").rescore(omni(matching=False), search, first, candidates(first, 2))
