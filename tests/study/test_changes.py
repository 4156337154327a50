from typing import Any

import pytest

from mmts.errors import InputError
from mmts.study.changes import over, plain

CHOSEN = {"centre": 0.04, "alpha_share": 0.75, "spread": 0.5, "train.epochs": 3}


def test_shares_of_a_centre() -> None:
    assert plain(CHOSEN, "f", "p") == {
        "shift_min": 0.02, "shift_max": 0.06, "alpha": 0.03,
        "train.epochs": 3,
    }  # fmt: skip
    assert plain({"centre": 0.1}, "f", "p") == {"shift_min": 0.1, "shift_max": 0.1}
    assert plain({"shifts": [0.1, 0.2], "control": "random"}, "f", "p") == {
        "shift_min": 0.1, "shift_max": 0.2, "control": "random",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("varied", "wanted"),
    [
        ({"alpha": 0.01}, {"centre": 0.04, "spread": 0.5, "alpha": 0.01}),
        ({"shifts": [0.03, 0.05]}, {"shifts": [0.03, 0.05], "alpha": 0.03}),
        ({"shifts": [0.03, 0.05], "alpha": 0.02}, {"shifts": [0.03, 0.05], "alpha": 0.02}),
        ({"centre": 0.1}, {"centre": 0.1, "alpha_share": 0.75, "spread": 0.5}),
        ({"control": "reversed"}, {"control": "reversed", **CHOSEN}),
    ],
)
def test_what_is_varied_takes_the_place_of_what_was_chosen(
    varied: dict[str, Any], wanted: dict[str, Any]
) -> None:
    before = dict(CHOSEN)
    assert over(CHOSEN, varied) == {"train.epochs": 3, **wanted}
    assert before == CHOSEN


def test_shifts_beside_a_centre() -> None:
    with pytest.raises(InputError, match="f: p gives shifts, which its centre or shifts give too"):
        plain({"shifts": [0.1, 0.2], "centre": 0.1}, "f", "p")
