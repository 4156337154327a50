"""What our error keeps of another's words."""

from __future__ import annotations

import pytest

from mmts.errors import InputError, KindFault, blamed, fault, first_line, in_short, told


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


FILE = "mmts/kinds/objective/mine.py"


def raised(code: str, file: str) -> Exception:
    """What some code raises that stands in a file, on its third line."""
    try:
        exec(compile(f"\n\n{code}", file, "exec"), {})
    except Exception as error:
        return error
    raise AssertionError(code)


@pytest.mark.parametrize("root", ["", "/home/x/", "C:\\x\\"])
def test_an_error_that_went_through_the_file_of_a_kind_is_told_of_it(root: str) -> None:
    (line,) = told(raised("{}['x']", root + FILE))
    assert line == f"{FILE} line 3: KeyError: 'x'; mend the file"
    (line,) = told(raised("raise RuntimeError('a\\nb')", root + FILE))
    assert line == f"{FILE} line 3: RuntimeError: a; mend the file"
    (line,) = told(raised("assert False", root + FILE))
    assert line == f"{FILE} line 3: AssertionError; mend the file"


def test_an_error_of_the_program_is_not() -> None:
    for file in ("mmts/kinds/objective/__init__.py", "mmts/kinds/text/_parts.py", "mmts/files.py"):
        assert told(raised("{}['x']", file)) == [] and not fault(raised("{}['x']", file))
    (line,) = told(raised("raise OSError(28, 'No space left on device', 'y')", FILE))
    assert line == "y: No space left on device"
    (line,) = told(raised("raise MemoryError", FILE))
    assert line.startswith("out of memory (MemoryError); lower")


def test_a_file_is_blamed_for_whatever_is_raised() -> None:
    for error, said in (
        (InputError("rows must have norm 1"), "rows must have norm 1"),
        (TypeError("f() takes 1"), "TypeError: f() takes 1"),
        (SyntaxError("odd", (f"/x/{FILE}", 7, 1, "x y")), "SyntaxError: odd"),
    ):
        at = " line 7" if isinstance(error, SyntaxError) else ""
        with pytest.raises(KindFault) as told_of, blamed(FILE):
            raise error
        assert str(told_of.value) == f"{FILE}{at}: {said}; mend the file"
    with pytest.raises(KindFault) as told_of, blamed(FILE):
        raise MemoryError
    (line,) = told(told_of.value)
    assert "if memory ran out" in line
