"""Where the tests of training run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def outside_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dvclive opens the DVC repository that it finds above, and never closes it: a process that
    logs many runs would keep a dozen files open for each."""
    monkeypatch.chdir(tmp_path)
