"""The benchmark of the multi-instance metrics on tiny sizes, and what it reads and makes up."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import mir as command
from mmts.metrics import mir
from stages.cli import run


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"VIDEOS": 50, "TEXTS": 40, "KEYS": 30, "SHARE": 8}.items():
        monkeypatch.setattr(command, name, value)


def started(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
    threads = torch.get_num_threads()
    try:
        run(command.main)
    except SystemExit as stop:
        assert stop.code == 0
    finally:
        torch.set_num_threads(threads)


def test_a_run(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results" / "mir.json"
    started(monkeypatch, "--rounds", 3, "--json", path)
    found = json.loads(path.read_text())
    assert (found["videos"], found["texts"], found["keys"]) == (50, 40, 30)
    rows = {row["what"]: row for row in found["rows"]}
    assert list(rows) == [
        command.RELEVANCY, command.LOOP, command.BOTH, command.EACH, command.USUAL
    ]  # fmt: skip
    for row in rows.values():
        assert len(row["rounds"]) == 3 and row["seconds"] == statistics.median(row["rounds"])
    bars = {bar["what"]: bar for bar in found["bars"]}
    ratio = rows[command.USUAL]["seconds"] / rows[command.BOTH]["seconds"]
    assert bars[f"{command.BOTH}: times faster"]["value"] == pytest.approx(ratio)
    assert bars["disagreement with the definition"]["met"]
    assert "extra MB" in capsys.readouterr().out


def test_made_up_data_are_of_the_official_size() -> None:
    videos, texts = command.made_up()
    assert (len(videos), len(texts)) == (9668, 3842)
    keys = [{(verb, frozenset(nouns)) for verb, nouns in rows} for rows in (videos, texts)]
    assert keys[0] == keys[1] and len(keys[0]) == 1979
    assert command.made_up() == (videos, texts)


def test_official_files(tmp_path: Path) -> None:
    (tmp_path / "EPIC_100_retrieval_test.csv").write_text(
        "narration_id,narration,verb_class,all_noun_classes\n"
        'a_0,take plate,0,[2]\na_1,null,3,"[2, 5]"\n'
    )
    (tmp_path / "EPIC_100_retrieval_test_sentence.csv").write_text(
        "narration_id,narration\na_1,null\n"
    )
    assert command.official(tmp_path) == ([(0, (2,)), (3, (2, 5))], [(3, (2, 5))])


def test_disagreement_is_the_largest_difference(
    tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = mir.relevancy(*command.made_up())
    scores = np.random.default_rng(0).standard_normal(gains.shape)
    assert command.disagreement(scores, gains) < 1e-12
    right = mir.per_query(scores, gains)
    right.ndcg.t2v[7] += 0.25
    monkeypatch.setattr(mir, "per_query", lambda *_: right)
    assert command.disagreement(scores, gains) == pytest.approx(0.25)
