"""`python -m stages.evaluate mir`: mAP and nDCG of a file of scores on official-format files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmts.metrics.mir import mean_average_precision, ndcg, relevancy
from mmts.sources.ek100_files import OfficialTest, read_tail, read_test
from stages.evaluate import main, mir
from tests.conftest import Ran
from tests.making import write_table
from tests.making_ek100 import write_ek100

Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command as `python -m stages.evaluate` does."""
    from stages.cli import run as run_command

    def command(*arguments: str) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["stages.evaluate", *arguments])
        code = 0
        try:
            run_command(main, mir=mir)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Ran(code, *capsys.readouterr())

    return command


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    folder = tmp_path / "ek100"
    write_ek100(folder)
    return folder


def matrices(annotations: Path) -> tuple[OfficialTest, np.ndarray, np.ndarray]:
    with pytest.warns(UserWarning, match="the official file"):
        test = read_test(annotations)
    classes = [list(zip(rows["verb_class"], rows["noun_classes"], strict=True)) for rows in test]
    scores = np.random.default_rng(0).random((len(test.clips), len(test.sentences)))
    return test, relevancy(*classes), scores


def test_the_numbers_are_those_of_the_metrics(run: Run, annotations: Path, tmp_path: Path) -> None:
    _, relevant, scores = matrices(annotations)
    np.save(tmp_path / "s.npy", scores)
    file = str(tmp_path / "out.json")
    ran = run("mir", "--similarity", str(tmp_path / "s.npy"), "--annotations", str(annotations),
              "--json", file, "--bootstrap", "100")  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads(Path(file).read_text())
    assert list(found) == ["all"]
    assert found["all"]["mAP/avg"] == pytest.approx(mean_average_precision(scores, relevant)["avg"])
    assert found["all"]["nDCG/t2v"] == pytest.approx(ndcg(scores, relevant)["t2v"])
    assert f"{100 * found['all']['mAP/avg']:.2f}" in ran.out
    assert ran.err.count("the official file") == 2


def test_ids_may_be_in_any_order_and_tail_classes_make_groups(
    run: Run, annotations: Path, tmp_path: Path
) -> None:
    test, _, scores = matrices(annotations)
    write_table(annotations / "EPIC_100_tail_verbs.csv", [{"verb": "2"}, {"verb": "3"}])
    write_table(annotations / "EPIC_100_tail_nouns.csv", [{"noun": "3"}])
    assert read_tail(annotations) == {"verb": {2, 3}, "noun": {3}}
    names = [rows["narration_id"].to_numpy(dtype=str) for rows in test]
    np.savez(tmp_path / "s.npz", sim_mat=scores[::-1], vis_ids=names[0][::-1], txt_ids=names[1])
    np.save(tmp_path / "s.npy", scores)
    printed = [
        run("mir", "--similarity", str(tmp_path / name), "--annotations", str(annotations)).out
        for name in ("s.npy", "s.npz")
    ]
    assert printed[0] == printed[1] and "tail verbs" in printed[0] and "neither" in printed[0]


def test_what_it_refuses(run: Run, annotations: Path, tmp_path: Path) -> None:
    _, _, scores = matrices(annotations)
    scores[1, 2] = np.nan
    np.save(tmp_path / "nan.npy", scores)
    np.save(tmp_path / "few.npy", scores[:3])
    to = ("--annotations", str(annotations))
    for name, message in (
        ("nan.npy", "similarity[1, 2] is nan"),
        ("few.npy", "the test set needs"),
        ("none.npy", "give a file of scores"),
    ):
        ran = run("mir", "--similarity", str(tmp_path / name), *to)
        assert ran.code == 1 and ran.out == ""
        (line,) = [x for x in ran.err.splitlines() if not x.startswith("warning: ")]
        assert line.startswith("error: ") and message in line
    (annotations / "EPIC_100_tail_verbs.csv").write_text("verb\nten\n")
    (annotations / "EPIC_100_tail_nouns.csv").write_text("noun\n1\n")
    ran = run("mir", "--similarity", str(tmp_path / "few.npy"), *to)
    assert "EPIC_100_tail_verbs.csv line 2: verb is 'ten'; it must be 0..96" in ran.err


def test_the_stage_itself_still_asks_for_its_cell(run: Run) -> None:
    assert run("--help").code == 0 and "mir" in run("--help").out
    assert run("--dataset", "x").code == 2
