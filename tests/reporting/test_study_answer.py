"""The answer of the study's report says what the intervals do, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmts.reporting.study.answer import answer
from mmts.reporting.study.results import load_studies
from mmts.reporting.study.rows import Rows
from tests.reporting.making_study import METHODS, write_study


@pytest.mark.parametrize(
    ("ability", "swept", "first", "second"),
    [
        (1.0, (0.0, 1.0), "beats", "is better than"),
        (-1.0, (-1.0, -2.0), "is worse than", "is worse than"),
        (0.0, (0.0, 0.0), "does not beat", "is not clearly better or worse than"),
    ],
)
def test_the_answer_follows_the_intervals(
    tmp_path: Path, ability: float, swept: tuple[float, float], first: str, second: str
) -> None:
    ends = {"info_nce_mmts at 1": swept[0], "info_nce_mmts at 50": swept[1]}
    write_study(tmp_path, {"info_nce_mmts": ability, "reversed": 0.0, "random": 0.0} | ends)
    rows = Rows(load_studies(tmp_path)[0])
    gain, pieces, tail = answer([rows])
    assert f"MM-TS {first} the best fixed temperature on toy (" in gain.sentence
    assert pieces.sentence.startswith(f"MM-TS {second} TS alone on toy (")
    sizes = {
        1.0: "; reversed and random shifts are worse than shifts by cluster size on toy.",
        -1.0: "; reversed and random shifts are better than shifts by cluster size on toy.",
        0.0: "so there is no sign that the sizes matter on toy.",
    }
    assert pieces.sentence.endswith(sizes[ability])
    verb = {1.0: "rises", -1.0: "falls", 0.0: "does not clearly change"}[ability]
    assert f"{verb} from imbalance 1 to 50 on toy (" in tail.sentence
    assert gain.sentence.endswith("], within the noise)." if ability == 0 else "]).")
    assert "MM-TS is info_nce_mmts" in gain.evidence[0]
    above = ["max_margin_mmts", "max_margin", *(["info_nce_mmts"] if ability > 0 else [])]
    told = gain.evidence[0].split("Clearly above info_nce: ")[1]
    assert [name for name in METHODS if f"{name} (" in told] == sorted(above, key=[*METHODS].index)
    assert "info_nce, whichever was chosen: " in told and "the trials chose 0.03." in told
    alike = rows.chosen["info_nce_mmts"].contrasts["centre"]
    assert alike.name == "rsum minus fixed/info_nce/centre=0.03"
    if ability > 0:  # as if the fixed temperature at the centre of MM-TS were better
        worse = replace(alike, terms=[(-sign, tested) for sign, tested in alike.terms])
        rows.chosen["info_nce_mmts"].contrasts["centre"] = worse
        only = "beats the best fixed temperature that the trials chose, though not one at its own"
        assert f"MM-TS {only} centre, on toy (" in answer([rows])[0].sentence
    rows.mmts = "max_margin_mmts"  # has no controls
    assert answer([rows])[1].sentence.endswith(" on toy (with info_nce_mmts).")
