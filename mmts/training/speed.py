"""How fast a training is, and how near to what its GPUs could do at most."""

from __future__ import annotations

import copy
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from mmts.files import output_file, write_json
from mmts.settings.training import Train
from mmts.towers.model import Model, Streams
from mmts.training.batch import Batch, sent
from mmts.training.distributed import World

FIRST = 3
"""Steps that are not measured where more follow: they compile, and allocate memory."""

TENSOR_CORES = {
    "B200": 2250.0, "GH200 480GB": 989.5, "H200": 989.5, "H200 NVL": 835.5,
    "H100 80GB HBM3": 989.5, "H100 NVL": 835.5, "H100 PCIe": 756.5,
    "A100-SXM4-40GB": 312.0, "A100-SXM4-80GB": 312.0, "A100-PCIE-40GB": 312.0,
    "A100 80GB PCIe": 312.0, "A40": 149.7, "A30": 165.0, "A10": 125.0,
    "L40S": 362.05, "L40": 181.05, "L4": 121.0, "RTX 4090": 165.2, "RTX 3090": 71.0,
}  # fmt: skip
"""TFLOP/s of bf16 and fp16 matrices, summed up in fp32, by the name that torch gives a GPU: from
NVIDIA's data sheets, without sparsity. A part of a GPU (MIG) has another name and no number."""
FP16_ALONE = {
    "V100-SXM2-16GB": 125.0, "V100-SXM2-32GB": 125.0, "V100-PCIE-16GB": 112.0,
    "V100-PCIE-32GB": 112.0, "T4": 65.0,
}  # fmt: skip


class Speed(NamedTuple):
    """What was measured; `null` in the file is None here.

    Attributes:
        device: name of the GPU, or cpu.
        samples_per_second: of all processes, with the saving of checkpoints, without validation.
        data_wait: share of that time in which a step waited for its batch, in the process that
            waited longest.
        flops_per_sample: see `model_flops`.
        peak_flops: of the GPUs of all processes, a second.
        mfu: share of `peak_flops` that the model used.
    """

    device: str
    processes: int
    precision: str
    samples_per_second: float
    data_wait: float
    flops_per_sample: float | None = None
    peak_flops: float | None = None
    mfu: float | None = None


def peak_flops(device_name: str, precision: str) -> float | None:
    """Floating-point operations a second of a GPU at most; None where that is not known.

    In fp32 it is not: PyTorch takes TF32 for convolutions and not for matrices.
    """
    for brand in ("NVIDIA ", "Tesla ", "GeForce "):
        device_name = device_name.removeprefix(brand)
    known = {"bf16": TENSOR_CORES, "fp16": {**TENSOR_CORES, **FP16_ALONE}}.get(precision, {})
    return 1e12 * known[device_name] if device_name in known else None


def model_flops(model: Model, streams: Streams, text: Tensor) -> float:
    """Floating-point operations of one pair, forward and backward, a multiplication with its
    addition as two.

    Matrices, convolutions and attention are counted, as it is usual for MFU; what gradient
    checkpointing and micro batches compute again is not, nor is the loss. It is counted on a copy
    without numbers, so that neither the model nor any random state changes.

    Args:
        streams, text: inputs of some pairs; only their shapes count.
    """
    twin = _without_numbers(model).eval()  # where nothing is computed again
    for module in twin.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "patch_dropout"):  # it leaves out patches in training alone
            module.config = replace(config, gradient_checkpointing=False)
            module.training = True
    with FlopCounterMode(display=False) as counted, torch.enable_grad():
        meta = torch.device("meta")
        encoded = twin(sent(streams, meta), text.to(meta))
        rows = (encoded.vision, encoded.text)
        sum(side.sum() for side in rows if side.requires_grad).backward()
    return float(counted.get_total_flops()) / len(text)


def _without_numbers(model: Model) -> Model:
    """A copy on the meta device."""
    shells: dict[int, Any] = {id(b): b.to("meta") for b in model.buffers()}
    for parameter in model.parameters():
        shells[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    return copy.deepcopy(model, shells)


class Speedometer:
    """Measures the steps of this process.

    On a GPU, steps run behind the program: it may wait for a batch while the GPU is busy with the
    step before, and nothing is lost. So a wait is what passes on the GPU's own clock between two
    events around it: nothing where the GPU is late, and all of it where the GPU has no work. The
    copy of the batch onto the GPU is part of it.
    """

    def __init__(self, model: Model, settings: Train, world: World, left: int) -> None:
        """`left`: steps that this process is going to take."""
        self._model, self._settings, self._world = model, settings, world
        self._left_out = FIRST if left > FIRST else 0
        self._cuda = world.device.type == "cuda"
        self._name = torch.cuda.get_device_name(world.device) if self._cuda else "cpu"
        self._peak = peak_flops(self._name, settings.precision)
        self._flops: float | None = None
        self._marks: deque[tuple[Any, Any]] = deque()
        self._steps, self._busy, self._waited, self._since = 0, 0.0, 0.0, 0.0

    def measured(self, batches: Iterator[Batch], count: int) -> Iterator[Batch]:
        """Yield the next batches, each for a step; call `stop` when all have ended."""
        self._start()
        for _ in range(count):
            yield self._next(batches)

    def _start(self) -> None:
        self._since = time.perf_counter()

    def _next(self, batches: Iterator[Batch]) -> Batch:
        if self._steps == self._left_out:
            self.stop()
            self._busy, self._waited = 0.0, 0.0
            self._start()
        before = self._mark()
        batch = next(batches)
        self._marks.append((before, self._mark()))
        if self._peak is not None and self._flops is None:
            one = batch.part(slice(1))
            self._flops = model_flops(self._model, one.streams, one.text)
        self._steps += 1
        self._add_up()
        return batch

    def stop(self) -> None:
        """They have ended."""
        if self._cuda:
            torch.cuda.synchronize(self._world.device)
        self._busy += time.perf_counter() - self._since
        self._add_up()

    def speed(self) -> Speed | None:
        """What was measured; all ranks ask together. None without a step."""
        steps = self._steps - self._left_out
        if steps <= 0:
            return None
        size, rate = self._world.size, steps * self._settings.batch_size / self._busy
        wait = self._world.highest(round(1e6 * self._waited / self._busy)) / 1e6
        found = Speed(self._name, size, self._settings.precision, rate, wait)
        if self._peak is None or self._flops is None:
            return found
        peak = size * self._peak
        return found._replace(
            flops_per_sample=self._flops, peak_flops=peak, mfu=self._flops * rate / peak
        )

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _add_up(self) -> None:
        """The waits that are over on the GPU too."""
        while self._marks and (not self._cuda or self._marks[0][1].query()):
            before, after = self._marks.popleft()
            self._waited += before.elapsed_time(after) / 1e3 if self._cuda else after - before


class Progress:
    """Print the progress of a training to stderr, one line at a time, where no bar is drawn.

    Nothing is printed on a terminal, or where the environment variable TQDM_DISABLE is set.
    """

    FIRST = 10.0
    """Seconds before the first line."""
    EVERY = 30.0
    """Seconds between two lines."""

    def __init__(self, done: int, total: int, batch_size: int) -> None:
        """`done`: steps that an earlier process took."""
        self._done, self._total, self._size = done, total, batch_size
        self._on = not (sys.stderr.isatty() or os.environ.get("TQDM_DISABLE"))
        self._began = time.monotonic()
        self._next = self._began + self.FIRST

    def due(self) -> bool:
        """Return whether it is time for a line."""
        return self._on and time.monotonic() >= self._next

    def tell(self, step: int, loss: float, rate: float) -> None:
        """Print a line after `step` steps; the speed is the average of this process so far."""
        now = time.monotonic()
        self._next = now + self.EVERY
        seconds = max(now - self._began, 1e-9) / (step - self._done)
        left = tqdm.format_interval(seconds * (self._total - step))
        print(
            f"step {step} of {self._total}: loss {loss:.3f}, learning rate {rate:.3g}, "
            f"{self._size / seconds:,.0f} samples/s, {left} left",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def told(speed: Speed) -> str:
    """It in words."""
    mfu = "" if speed.mfu is None else f", MFU {100 * speed.mfu:.1f} %"
    wait = f"data wait {100 * speed.data_wait:.1f} %"
    return f"{speed.samples_per_second:,.0f} samples/s, {wait}{mfu}"


def write(path: Path, digest: str, speed: Speed) -> None:
    """Write it; `digest`: of the facts of the run."""
    with output_file(path) as work:
        write_json(work, {"digest": digest, **speed._asdict()})
