"""Jobs in processes: all their messages, and every way to end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path

import pytest

from mmts.errors import InputError
from mmts.shards.workers import work_off
from tests import patience


def count(job: int) -> Iterator[tuple[int, int]]:
    for n in range(job):
        yield job, n


def misbehave(job: str) -> Iterator[int]:
    yield os.getpid()
    if job == "input":
        raise InputError("one line")
    if job == "os":
        raise OSError(28, "No space left on device", "a.tar")
    if job == "bug":
        raise ZeroDivisionError("a bug")
    if job == "dies":
        os._exit(7)
    if job == "sleeps":
        time.sleep(3600)


def alone(job: str) -> list[tuple[int, int]]:
    return list(work_off(misbehave, [job, job], 2, lambda job: f"the job {job}"))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_all_messages_of_all_jobs(workers: int) -> None:
    jobs = [3, 0, 5, 1, 2]
    found = list(work_off(count, jobs, workers, str))
    for number, job in enumerate(jobs):
        assert [m for n, m in found if n == number] == [(job, n) for n in range(job)]
    assert len(found) == sum(jobs) and active_children() == []


def test_they_are_other_processes() -> None:
    pids = {pid for _, pid in alone("fine")}
    assert len(pids) == 2 and os.getpid() not in pids
    assert list(work_off(misbehave, ["fine"], 0, str)) == [(0, os.getpid())]


@pytest.mark.parametrize(
    ("job", "kind", "message"),
    [
        ("input", InputError, "^one line$"),
        ("os", InputError, r"^a\.tar: No space left on device$"),
        ("bug", RuntimeError, "ZeroDivisionError: a bug"),
        ("dies", InputError, r"^the job dies: the process at it died \(exit code 7\); lower"),
    ],
)
def test_what_goes_wrong_there_is_said_here(job: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        alone(job)
    assert active_children() == []


def test_closing_stops_them_at_once(tmp_path: Path) -> None:
    with patience.within(30), closing(work_off(misbehave, ["sleeps", "sleeps"], 2, str)) as found:
        _, pid = next(found)
    assert active_children() == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
