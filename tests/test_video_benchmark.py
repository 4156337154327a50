"""The benchmark of clips runs on a tiny size, and says what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import clips, video
from tests.test_benchmarks import started

ROOT = Path(__file__).parent.parent


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new/video.json"
    started(
        video, "--segments", 2, "--seconds", 0.5, "--clip-length", 4, "--short-side", 64,
        "--rounds", 1, "--json", path,
    )  # fmt: skip
    found = json.loads(path.read_text())
    rows = {row["form"]: row for row in found["rows"]}
    assert {clips.OURS, clips.PLAIN, clips.CROPPED, clips.SOURCE} <= set(rows)
    ours, plain = rows[clips.OURS], rows[clips.PLAIN]
    assert plain["of_plain"] == 1
    assert ours["of_plain"] == pytest.approx(plain["seconds"] / ours["seconds"])
    assert ours["clips_a_second"] == pytest.approx(1 / ours["seconds"])
    assert found["frames"] == 15 and min(found["size"]) == 64
    (bar,) = found["bars"]
    assert bar["value"] == ours["of_plain"] and bar["met"] == (bar["value"] >= 0.9)
    printed = capsys.readouterr().out
    assert bar["what"] in printed and all(form in printed for form in rows)


def test_every_form_gives_the_same_frames(tmp_path: Path) -> None:
    stored = clips.store(tmp_path, segments=2, seconds=1.5, short_side=64)
    calls = clips.calls(stored, 5)
    clips.check(calls)
    frames = {form: np.stack(call.run()).astype(int) for form, call in calls.items()}
    ours = frames[clips.OURS]
    for form, found in frames.items():
        if form in (clips.CROPPED, clips.SOURCE):
            continue
        assert found.shape == ours.shape
        right = np.abs(found - ours).mean()
        assert right < 0.5 * np.abs(found - ours[:, ::-1]).mean(), form  # in the right order
    assert frames[clips.CROPPED].shape == (2, 5, 224, 224, 3)
    small = frames[clips.SOURCE][:, :, ::2, ::2]
    assert np.abs(small - ours).mean() < 0.5 * np.abs(small - ours[:, ::-1]).mean()


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, benchmarks.video; print([m for m in ('torch', 'av') if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.strip() == "[]"
