"""What our error keeps of another's words."""

from __future__ import annotations

import pytest

from mmts.errors import first_line, in_short


@pytest.mark.parametrize(
    ("said", "first", "short"),
    [
        (ValueError("a  b\n c"), "a  b", "a b c"),
        (ValueError("\n a"), "a", "a"),
        (KeyError(), "KeyError", "KeyError"),
        (ValueError(" \n "), "ValueError", "ValueError"),
        (ValueError("x" * 161), "x" * 161, "x" * 160),
    ],
)
def test_of_another_error(said: Exception, first: str, short: str) -> None:
    assert (first_line(said), in_short(said)) == (first, short)
