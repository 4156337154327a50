"""The loss of made-up pairs, which the stage `plan` computes once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from mmts import config
from mmts.errors import InputError
from mmts.kinds.objective import ObjectiveKind
from mmts.kinds.term import TermKind
from mmts.losses import info_nce
from mmts.training import ahead
from tests.conftest import Project

CELLS = config.load(Path(__file__).parents[2] / "params.yaml").cells
BASE = CELLS["openmoji", "info_nce"]


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_every_method_that_there_is_passes(cell: tuple[str, str]) -> None:
    before = torch.get_rng_state()
    ahead.try_method(CELLS[cell])
    assert torch.equal(torch.get_rng_state(), before)


class OfBoth(ObjectiveKind):
    """Takes a pair of indices alone, as a dataset with several captions an item gives it."""

    kind: str = "of_both"
    label: ClassVar[str] = "of both"

    def build(self, samples: int, captions: int | None) -> Any:
        def loss(vision: Any, text: Any, tau: Any, *, index: Any, positives: Any) -> Any:
            items, others = index
            assert captions == 2 * samples and len(items) == len(others) == ahead.PAIRS
            return info_nce(vision, text, tau, positives=positives)

        return loss


def test_an_objective_may_need_an_index_of_captions() -> None:
    ahead.try_method(BASE.model_copy(update={"objective": OfBoth()}))


class Asking(TermKind):
    """Asks for what a model has beside its rows."""

    kind: str = "asking"
    label: ClassVar[str] = "asking"
    ask: str

    def build(self, model: Any) -> Any:
        def term(given: Any) -> Any:
            vision, text, context = given.encoded
            if self.ask == "context":
                return torch.cat([vision, context]).mean()
            if self.ask == "match":
                return model.match(context, given.batch.text).mean()
            if self.ask == "streams":
                return given.batch.streams["image"].mean() * vision.mean()
            return torch.nn.Linear(model.dim, 1)(text)

        return model.head if self.ask == "head" else term


@pytest.mark.parametrize("ask", ["context", "match", "streams", "head"])
def test_a_term_that_asks_for_more_than_rows_is_not_tried(ask: str) -> None:
    ahead.try_method(BASE.model_copy(update={"terms": {"asking": Asking(ask=ask)}}))


def test_a_term_may_ask_for_the_width_of_the_rows() -> None:
    method = BASE.model_copy(update={"terms": {"asking": Asking(ask="dim")}})
    message = r"^tests/training/test_ahead\.py: the loss asking is a tensor of shape \[8, 1\];"
    with pytest.raises(InputError, match=message):
        ahead.try_method(method)


def test_a_method_is_tried_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(ahead, "try_method", tried.append)
    memory = project.root / "data/cache/plan/tried_methods.json"
    memory.unlink(missing_ok=True)
    assert project.run("plan").code == 0
    first = len(tried)
    assert first >= 1 and len(json.loads(memory.read_bytes())) == first
    project.set(datasets__tiny__train__epochs=3)
    assert project.run("plan").code == 0 and len(tried) == first
    project.set(datasets__tiny__temperature__fixed=0.06)
    assert project.run("plan").code == 0 and len(tried) > first
    memory.write_text("{")
    tried.clear()
    assert project.run("plan").code == 0 and len(tried) == first
