"""Checkpoints of a run: written whole or not at all, and gone on from with the same facts alone.

`data/cache/checkpoints/<dataset>/<method>/<seed>/<digest of the facts>/step-000001234/` has

- model.safetensors, and ema.safetensors where there is one;
- state.pt: optimiser, scaler, objective, modulator and log (torch.load reads it weights-only);
- rank-N.pt: the random states of process N, weights-only too;
- facts.json: the facts, the position, and which versions wrote it;
- SHA256SUMS.

With several processes all of them see one file system.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from mmts.errors import InputError
from mmts.files import discard, make_folder, seal
from mmts.sealed import SUMS, check_seal
from mmts.training import checkpoint_files as files
from mmts.training.fingerprint import Facts, difference, digest_of
from mmts.training.processes import Processes
from mmts.training.rng import random_states, restore_random_states


class Position(NamedTuple):
    """Where a run stands: `step` steps done, `batch` of them in `epoch`."""

    step: int
    epoch: int
    batch: int

    def after_step(self) -> Position:
        """Return the position one step on."""
        return Position(self.step + 1, self.epoch, self.batch + 1)

    def in_epoch(self, epoch: int) -> Position:
        """Return the same position, or the start of an epoch that it has not reached yet."""
        return self if epoch == self.epoch else Position(self.step, epoch, 0)


class Wish(NamedTuple):
    """What all processes do after a step: save, and stop for a signal (0 for none)."""

    save: bool
    stop: int


class Checkpoints:
    """The checkpoints of one cell (dataset, method, seed) with one set of facts.

    All methods but `newest` are called by all processes at the same step, and end in all of them
    where one fails, see `Processes.together`.

    Attributes:
        folder: of the checkpoints with these facts.
    """

    def __init__(
        self, cell: Path, facts: Facts, *, every_steps: int | None, every_minutes: float,
        keep: int = 2, processes: Processes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """
        Args:
            cell: the folder of the cell.
            facts: see `mmts.training.fingerprint`.
            every_steps, every_minutes: when one is due; None and 0 for never.
            keep: how many stay.
            processes: those that train together; None for this one alone.
            clock: seconds that only go forward.
        """
        self.folder = cell / digest_of(facts)
        self._facts, self._keep = facts, keep
        self._every_steps, self._every_minutes = every_steps, every_minutes
        self._processes = processes or Processes()
        self._first = self._processes.rank == 0
        self._clock, self._last, self._saved = clock, clock(), -1

    def wish(self, step: int, asked: int = 0) -> Wish:
        """What to do after `step` steps are done; the same answer in all processes.

        Args:
            step: steps done.
            asked: `GracefulStop.asked` of this process. The clock is that of rank 0.
        """
        due = self._every_steps is not None and step % self._every_steps == 0
        if self._every_minutes and self._first:
            due = due or self._clock() - self._last >= 60 * self._every_minutes
        number = self._processes.highest(asked or int(due))
        return Wish(number > 0, number if number > 1 else 0)

    def newest(self) -> Path | None:
        """The last checkpoint with these facts."""
        return max(files.steps(self.folder), key=files.step_of, default=None)

    def save(
        self, position: Position, weights: Mapping[str, nn.Module | None], state: Mapping[str, Any]
    ) -> Path:
        """Write the checkpoint of a position, unless it was the last that was written or loaded.

        Args:
            position: where the run stands.
            weights: modules by name (model, ema), a file each; None is left out.
            state: whatever else has a `state_dict`, by name; anything without one (a function,
                None) is left out. That of rank 0 counts.

        Raises:
            InputError: the disk is full, or the weights are not finite. The checkpoints before
                it are as they were.
        """
        final = self.folder / files.name_of(position.step)
        if position.step == self._saved:
            return final
        work = self.folder / f".{final.name}.partial"

        def full(reason: str) -> str:
            return (
                f"{work} could not be written ({reason}); make room there: the same command then "
                f"goes on from {self.newest() or 'the start'}"
            )

        try:
            with self._processes.together(full):
                if self._first:
                    files.check_finite(weights, position.step, self.newest())
                    self._sweep()
                    make_folder(self.folder)
                    work.mkdir()
            with self._processes.together(full):
                files.write_tensors(work / self._rank_file, random_states())
                if self._first:
                    files.write(work, weights, state, position._asdict(), self._facts)
            with self._processes.together(full):
                if self._first:
                    self._seal(work, final)
        except BaseException:
            if self._first:
                shutil.rmtree(work, ignore_errors=True)
            raise
        self._last, self._saved = self._clock(), position.step
        return final

    def resume(
        self, weights: Mapping[str, nn.Module | None], state: Mapping[str, Any],
        path: Path | None = None,
    ) -> Position | None:  # fmt: skip
        """Put the newest checkpoint with these facts, or the one in `path`, into what is given.

        It prints a line where it goes on, and where only checkpoints with other facts are there.
        Call it last before the first step: it sets the random states.

        Args:
            weights, state: as for `save`; what a process does not have is not loaded.
            path: a folder step-NUMBER.

        Returns:
            Where to go on; None to begin.

        Raises:
            InputError: damage (the file is named), other facts (the key is named), another model.
        """
        chosen = path
        if chosen is None:
            newest = self.newest()  # another process's view of a network disk may be old
            mine = files.step_of(newest) if self._first and newest is not None else -1
            step = self._processes.highest(mine)
            if step < 0:
                self._tell_others()
                return None
            chosen = self.folder / files.name_of(step)

        def unreadable(reason: str) -> str:
            return f"{chosen} cannot be read ({reason}); delete it to go on from the one before"

        with self._processes.together(unreadable):
            if not (chosen / SUMS).is_file():
                raise InputError(
                    f"{chosen} is no checkpoint: that is a folder step-NUMBER with {SUMS}, which "
                    "nothing but training writes"
                )
            remedy = f"delete {chosen} to go on from the checkpoint before it"
            needed = {self._rank_file, files.FACTS}
            check_seal(chosen, needed, remedy, others=self._first)
            position = self._accepted(chosen)
            files.read(chosen, weights, state)
            states = files.read_tensors(chosen / self._rank_file)
            try:
                restore_random_states(states)
            except files.ODD as error:
                files.does_not_fit(chosen / self._rank_file, error)
        self._last = self._clock()
        self._saved = position.step if path is None else -1
        self._tell(f"goes on from {chosen}")
        return position

    def clear(self) -> None:
        """Remove the checkpoints with these facts: the run is complete."""
        if not self._first:
            return
        if self.folder.exists():
            discard(self.folder)
        self._sweep()

    @property
    def _rank_file(self) -> str:
        return f"rank-{self._processes.rank}.pt"

    def _accepted(self, folder: Path) -> Position:
        """The position in a checkpoint, if this run may go on from it."""
        found = files.read_facts(folder)
        other = difference(self._facts, found["facts"])
        if other is not None:
            raise InputError(
                f"{folder} is of another run: {other}; make them agree, or leave out the path to "
                "begin anew"
            )
        return Position(**found["position"])

    def _tell_others(self) -> None:
        """Say why a checkpoint of this cell is not gone on from, if there is one."""
        other = files.newest_of_others(self.folder) if self._first else None
        if other is not None:
            told = difference(self._facts, files.read_facts(other)["facts"])
            self._tell(f"begins anew; {other} is of another run: {told}")

    def _tell(self, line: str) -> None:
        if self._first:
            print(line)

    def _seal(self, work: Path, final: Path) -> None:
        """Give the written folder its name, and drop the oldest."""
        for rank in range(self._processes.size):
            if not (work / f"rank-{rank}.pt").is_file():
                raise InputError(
                    f"{work} lacks rank-{rank}.pt; put data/cache on a disk that all machines share"
                )
        seal(work, final)
        for later in files.steps(self.folder):
            if files.step_of(later) > files.step_of(final):
                discard(later)  # of a run that was given up for an earlier checkpoint
        for old in sorted(files.steps(self.folder), key=files.step_of)[: -self._keep]:
            discard(old)

    def _sweep(self) -> None:
        """Remove what a killed process has left."""
        for folder in (self.folder, self.folder.parent):
            for left in folder.glob(".*.partial"):
                shutil.rmtree(left, ignore_errors=True)
