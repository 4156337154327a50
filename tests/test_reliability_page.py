"""docs/reliability.md names tests that are there, every test of a fault, and the code's numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmts import files, picture, sources
from mmts.shards import remote
from mmts.training import pulse

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
NUMBERS = {
    "After # s without a word it counts as lost": pulse.SILENCE * pulse.BEAT,
    "The second waits # s for the end of the first": files.PATIENCE,
    "have more than # bytes": sources.CAPTION_BYTES,
    "are opened, up to # million pixels": picture.MAX_PIXELS / 1e6,
    "then one line, within # s": remote.FIRST_BYTE,
}
"""What the page says, with # for the number. Most tests set less, to be done sooner."""


@pytest.mark.parametrize("phrase", NUMBERS)
def test_a_number_is_the_one_of_the_code(phrase: str) -> None:
    found = re.findall(re.escape(phrase).replace(r"\#", r"(\d[\d,.]*)"), PAGE)
    assert [float(number.replace(",", "")) for number in found] == [NUMBERS[phrase]]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_is_named_is_there(file: str, test: str) -> None:
    assert re.search(rf"^def {test}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_file_of_faults_is_named() -> None:
    files = {f"faults/{path.name}" for path in (TESTS / "faults").glob("test_*.py")}
    assert len(NAMED) > 50 and files == {file for file, _ in NAMED if file.startswith("faults/")}
