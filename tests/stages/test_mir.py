"""`python -m stages.evaluate mir`: mAP and nDCG of a file of scores on official-format files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmts.metrics.mir import mean_average_precision, ndcg, per_query, relevancy
from mmts.sources.ek100_files import OfficialTest, read_tail, read_test
from stages.evaluate import main
from tests.conftest import Ran
from tests.making import write_table
from tests.making_ek100 import clip, write_ek100

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
            run_command(main, mir="stages.mir")
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
    assert list(found) == ["all"]  # no tail files, no --clusters
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
    assert printed[0] == printed[1]
    first = [line[:12].strip() for line in printed[0].splitlines()]
    assert first[:5] == ["queries", "all", "tail noun", "tail verb", "neither"]


def write_clusters(path: Path, names: list[str]) -> dict[str, str]:
    """A clustering of the captions with these narration ids; the part that each is of."""
    sizes = {0: 30, 1: 20, 2: 10, -1: 0}
    table = pd.DataFrame({"caption_id": [f"ek100/{name}" for name in names]})
    table["cluster_id"] = [n % 4 - 1 for n in range(len(names))]
    table["cluster_size"] = table["cluster_id"].map(sizes)
    table.to_parquet(path, index=False)
    part = {0: "head", 1: "medium", 2: "tail", -1: "tail"}
    return {name: part[n % 4 - 1] for n, name in enumerate(names)}


def test_clusters_make_head_medium_and_tail(run: Run, annotations: Path, tmp_path: Path) -> None:
    test, relevant, scores = matrices(annotations)
    names = [list(rows["narration_id"]) for rows in test]
    part = write_clusters(tmp_path / "noun.parquet", ["of_training", *reversed(names[0])])
    write_table(annotations / "EPIC_100_tail_verbs.csv", [{"verb": "2"}])
    np.save(tmp_path / "s.npy", scores)
    ran = run("mir", "--similarity", str(tmp_path / "s.npy"), "--annotations", str(annotations),
              "--clusters", str(tmp_path / "noun.parquet"), "--json", str(tmp_path / "out.json"),
              "--bootstrap", "100")  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "out.json").read_text())
    assert list(found) == ["all", "head", "medium", "tail", "tail_verb", "neither"]
    values = per_query(scores, relevant)
    for name in ("head", "medium", "tail"):
        for direction, of, ids in zip(("v2t", "t2v"), values.ndcg, names, strict=True):
            mine = [value for value, i in zip(of, ids, strict=True) if part[i] == name]
            assert found[name][f"queries/{direction}"] == len(mine) > 0
            assert found[name][f"nDCG/{direction}"] == pytest.approx(np.mean(mine))


def test_clusters_that_do_not_fit(run: Run, annotations: Path, tmp_path: Path) -> None:
    test, _, scores = matrices(annotations)
    np.save(tmp_path / "s.npy", scores)
    path = tmp_path / "noun.parquet"
    said = []
    names = list(test.clips["narration_id"])
    for content in (names[:-2], None, "text"):
        if isinstance(content, list):
            write_clusters(path, content)
        elif content is None:
            pd.read_parquet(path).drop(columns="cluster_id").to_parquet(path)
        else:
            path.write_text(content)
        ran = run("mir", "--similarity", str(tmp_path / "s.npy"), "--annotations",
                  str(annotations), "--clusters", str(path))  # fmt: skip
        assert ran.code == 1 and ran.out == ""
        said.append(error_of(ran))
    assert said[0].startswith(f"error: {path} lacks 2 of 13 captions, the first ek100/{names[-2]};")
    assert said[1].startswith(f"error: {path} lacks cluster_id; give a table of the cluster")
    assert said[2].startswith(f"error: {path} is not a Parquet file (")


def error_of(ran: Ran) -> str:
    """The only line on stderr that is no warning."""
    (line,) = [x for x in ran.err.splitlines() if not x.startswith("warning: ")]
    return line


def test_a_sentence_that_is_missing(run: Run, annotations: Path, tmp_path: Path) -> None:
    new = clip("P03_01", 21, 3, (250,))
    train, test = write_ek100(annotations)
    write_ek100(annotations, train, [*test, new])
    path = annotations / "EPIC_100_retrieval_test_sentence.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    rows = len(path.read_text().splitlines()) - 1
    np.save(tmp_path / "s.npy", np.zeros((len(test) + 1, rows)))
    ran = run("mir", "--similarity", str(tmp_path / "s.npy"), "--annotations", str(annotations))
    assert ran.code == 1 and ran.out == ""
    assert error_of(ran).startswith(
        "error: v2t query P03_01_21 has no sentence of relevancy 1, one of the same verb and nouns;"
    )


def test_what_it_refuses(run: Run, annotations: Path, tmp_path: Path) -> None:
    _, _, scores = matrices(annotations)
    scores[1, 2] = np.nan
    np.save(tmp_path / "nan.npy", scores)
    np.save(tmp_path / "few.npy", scores[:3])
    to = ("--annotations", str(annotations))
    for name, message in (
        ("nan.npy", "nan.npy: the score of clip P01_11_1 and sentence "),
        ("few.npy", "the test set needs"),
        ("none.npy", "give a file of scores"),
    ):
        ran = run("mir", "--similarity", str(tmp_path / name), *to)
        assert ran.code == 1 and ran.out == ""
        assert error_of(ran).startswith("error: ") and message in error_of(ran)
    (annotations / "EPIC_100_tail_verbs.csv").write_text("verb\nten\n")
    (annotations / "EPIC_100_tail_nouns.csv").write_text("noun\n1\n")
    ran = run("mir", "--similarity", str(tmp_path / "few.npy"), *to)
    assert "EPIC_100_tail_verbs.csv line 2: verb is 'ten'; it must be 0..96" in ran.err


def test_the_stage_itself_still_asks_for_its_cell(run: Run) -> None:
    assert run("--help").code == 0 and "mir" in run("--help").out
    assert run("--dataset", "x").code == 2
