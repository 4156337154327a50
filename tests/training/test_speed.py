from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.two_tower import TwoTower
from mmts.training import speed
from mmts.training.batch import Batch
from mmts.training.distributed import World
from mmts.training.speed import Speed, Speedometer, model_flops, peak_flops
from tests.making_run import plain
from tests.training.test_loop import FROZEN, settings

SHAPE = {"patch_size": 8, "width": 16, "layers": 2, "heads": 2}
RESNET = {"name": "resnet", "depth": 18}
WORDS = {"context": 8, "width": 16, "layers": 2, "heads": 2}
CLIP_TEXT = {"name": "clip_text", "shape": WORDS}


def heads_alone() -> TwoTower:
    return TwoTower(FROZEN, Head(dim=8), {"vision": 12, "text": 10})


def towers(vision: dict[str, Any], **text: Any) -> TwoTower:
    base = {"weights": "random", "frozen": False}
    words = text or {"name": "distilbert", "pooling": "mean", "shape": WORDS}
    tree = {"vision": {**base, "image_size": 32, **vision}, "text": {**base, **words}}
    torch.manual_seed(0)
    return TwoTower(Towers.model_validate(tree), Head(dim=6), {"vocabulary": 30})


def inputs(*shape: int) -> tuple[dict[str, Tensor], Tensor]:
    name = "image" if len(shape) == 4 else "frames"
    pixels = {name: torch.zeros(shape, dtype=torch.uint8)}
    return pixels, torch.ones(shape[0], 6, dtype=torch.int64)


@pytest.mark.parametrize(
    ("name", "bf16", "fp16"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5e12, 989.5e12),
        ("NVIDIA H100 PCIe", 756.5e12, 756.5e12),
        ("NVIDIA H200", 989.5e12, 989.5e12),
        ("NVIDIA A100-SXM4-80GB", 312e12, 312e12),
        ("NVIDIA L4", 121e12, 121e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 165.2e12),
        ("Tesla V100-SXM2-16GB", None, 125e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None, None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None, None),
        ("cpu", None, None),
    ],
)
def test_peaks(name: str, bf16: float | None, fp16: float | None) -> None:
    assert peak_flops(name, "bf16") == bf16 and peak_flops(name, "fp16") == fp16
    assert peak_flops(name, "fp32") is None


def test_linear_heads_by_hand() -> None:
    """Each of the two maps forward, and for the gradient of its weights; none of its input."""
    found = model_flops(heads_alone(), {"features": torch.zeros(3, 12)}, torch.zeros(3, 10))
    assert found == 2 * 2 * (12 * 8 + 10 * 8)


@pytest.mark.parametrize(
    ("vision", "text", "shape"),
    [
        (RESNET, {}, (2, 3, 32, 32)),
        ({"name": "vit", "shape": SHAPE}, {}, (2, 3, 32, 32)),
        ({"name": "clip_vision", "shape": SHAPE}, CLIP_TEXT, (2, 3, 32, 32)),
        ({"name": "video_vit", "shape": SHAPE, "clip_length": 4}, CLIP_TEXT, (2, 4, 3, 32, 32)),
    ],
)
def test_counted_as_in_a_real_step(
    vision: dict[str, Any], text: dict[str, Any], shape: tuple[int, ...]
) -> None:
    model = towers(vision, **text).train()
    pictures, words = inputs(*shape)
    twin = copy.deepcopy(model)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        sum(side.sum() for side in twin(pictures, words)[:2]).backward()
    assert model_flops(model, pictures, words) == counted.get_total_flops() / 2


def test_what_is_computed_again_does_not_count() -> None:
    def flops(**more: Any) -> float:
        given = {"name": "video_vit", "shape": SHAPE, "clip_length": 4, **more}
        return model_flops(towers(given), *inputs(1, 4, 3, 32, 32))

    assert flops(gradient_checkpointing=True) == flops()
    fewer = flops(patch_dropout=0.5)
    assert flops(patch_dropout=0.5, gradient_checkpointing=True) == fewer < 0.7 * flops()


def test_counting_changes_nothing() -> None:
    model = towers({**RESNET, "gradient_checkpointing": True}).train()
    pictures, words = inputs(2, 3, 32, 32)
    sum(side.sum() for side in model(pictures, words)[:2]).backward()

    def everything() -> Any:
        grads = {name: p.grad for name, p in model.named_parameters()}
        return plain([model.state_dict(), grads, torch.get_rng_state()])

    before = everything()
    assert model_flops(model, {"image": pictures["image"][:1]}, words[:1]) > 1e6
    assert everything() == before and all(module.training for module in model.modules())


class Clock:
    """A time that passes when it is told to; also stands for a GPU, `lag` seconds behind."""

    def __init__(self) -> None:
        self.now, self.lag, self.done = 100.0, 0.0, 0.0

    def __call__(self) -> float:
        return self.now

    def batches(self, *waits: float) -> Iterator[Batch]:
        ids = torch.zeros(2, dtype=torch.int64)
        for wait in waits:
            self.now += wait
            yield Batch({"features": torch.zeros(2, 12)}, torch.zeros(2, 10), ids, ids)

    def take(self, meter: Speedometer, *waits: float) -> None:
        """An epoch of steps of 3 seconds each."""
        for _ in meter.measured(self.batches(*waits), len(waits)):
            self.now += 3.0
        meter.stop()

    def synchronize(self, device: torch.device) -> None:
        assert device.type == "cuda"
        self.now = max(self.now, self.done)

    def event(self, enable_timing: bool) -> Any:
        clock = self

        class Event:
            def record(self) -> None:
                clock.done = self.at = clock.now + clock.lag

            def query(self) -> bool:
                return clock.now >= self.at

            def elapsed_time(self, other: Any) -> float:
                if not (self.query() and other.query()):
                    raise RuntimeError("CUDA error: device not ready")
                return 1000.0 * (other.at - self.at)

        return Event()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("mmts.training.speed.time.perf_counter", found)
    monkeypatch.setattr(torch.cuda, "Event", found.event)
    monkeypatch.setattr(torch.cuda, "synchronize", found.synchronize)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-40GB")
    return found


def world(kind: str, size: int = 1) -> World:
    return World(0, size, torch.device(kind), None)


def test_the_first_steps_are_left_out(clock: Clock) -> None:
    meter = Speedometer(heads_alone(), settings(batch_size=2), world("cpu"), 5)
    assert meter.speed() is None
    clock.take(meter, 50.0, 40.0)
    clock.now += 1000.0  # validation
    clock.take(meter, 30.0, 1.0, 2.0)
    found = meter.speed()
    assert found == Speed("cpu", 1, "fp32", pytest.approx(4 / 9), pytest.approx(3 / 9))


def test_all_steps_of_a_short_training(clock: Clock) -> None:
    meter = Speedometer(heads_alone(), settings(batch_size=2), world("cpu"), 2)
    clock.take(meter, 1.0, 0.0)
    found = meter.speed()
    assert found is not None and found.data_wait == pytest.approx(1 / 7, abs=1e-6)
    assert found.samples_per_second == pytest.approx(4 / 7)


def test_the_end_of_a_gpu_that_is_late(clock: Clock) -> None:
    """Its events are 5 s behind: 2 s after the last step of 3 s it has done all of it."""
    clock.lag = 5.0
    meter = Speedometer(heads_alone(), settings(batch_size=4), world("cuda"), 4)
    clock.take(meter, 9.0, 9.0, 9.0, 1.0)
    found = meter.speed()
    assert found is not None and clock.now == clock.done
    assert found.samples_per_second == pytest.approx(4 / 6)
    assert found.data_wait == pytest.approx(1 / 6, abs=1e-6)


def test_the_wait_of_the_process_that_waited_longest(clock: Clock) -> None:
    asked: list[int] = []

    class Others(World):
        def highest(self, number: int) -> int:
            asked.append(number)
            return max(number, 400_000)

    for wait, wanted in ((1.0, 0.4), (3.0, 0.5)):
        ranks = Others(0, 2, torch.device("cpu"), None)
        meter = Speedometer(heads_alone(), settings(batch_size=2), ranks, 1)
        clock.take(meter, wait)
        found = meter.speed()
        assert found is not None and found.data_wait == wanted
    assert asked == [250_000, 500_000]


def test_mfu(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted once, of one pair: a whole batch would only take longer."""
    counted: list[tuple[int, ...]] = []

    def flops(model: TwoTower, streams: dict[str, Tensor], text: Tensor) -> float:
        counted.append((*streams["features"].shape, *text.shape))
        return model_flops(model, streams, text)

    monkeypatch.setattr(speed, "model_flops", flops)
    chosen = settings(batch_size=4, precision="bf16")
    meter = Speedometer(heads_alone(), chosen, world("cuda", 2), 4)
    clock.take(meter, 9.0, 9.0, 9.0, 1.0)
    found = meter.speed()
    assert found is not None and found.device == "NVIDIA A100-SXM4-40GB" and found.processes == 2
    assert (found.samples_per_second, found.data_wait) == (1.0, 0.25)
    assert found.peak_flops == 2 * 312e12 and found.flops_per_sample == 704
    assert found.mfu == pytest.approx(704 / (2 * 312e12))
    assert counted == [(1, 12, 1, 10)]
    assert speed.told(found) == "1 samples/s, data wait 25.0 %, MFU 0.0 %"


def test_the_file(tmp_path: Path) -> None:
    path, found = tmp_path / "a/b/0.json", Speed("cpu", 2, "fp32", 12.5, 0.25)
    speed.write(path, "abc", found)
    assert json.loads(path.read_text()) == {"digest": "abc", **found._asdict()}
