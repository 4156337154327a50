"""What the fuzz tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.hostile import MARK


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples of a module write into."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module", autouse=True)
def no_code_is_run() -> Iterator[None]:
    """No hostile file of the module has run code."""
    yield
    assert os.environ.pop(MARK, None) is None, "a file has run code"
