import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import info_nce, max_margin
from mmts.metrics.mir import mean_average_precision, ndcg, relevancy
from mmts.metrics.recall import retrieval_recall
from mmts.modulators.scheduled import ScheduledShift
from mmts.settings.towers import Towers
from mmts.settings.training import Head, Train
from mmts.towers.tokens import encode, train_tokenizer
from mmts.towers.two_tower import TwoTower
from mmts.training.device import pick_device
from mmts.training.log import RunLog
from mmts.training.loop import Trained, train
from mmts.training.pairs import Pairs
from mmts.training.rates import learning_rate
from mmts.training.saved import load_model, save_model
from mmts.training.speed import Progress
from mmts.training.validation import encode_split
from tests import reference
from tests.making import write_picture

FROZEN = Towers.model_validate(
    {
        "vision": {"name": "small_cnn", "weights": "x", "frozen": True, "image_size": 16},
        "text": {"name": "sentence", "weights": "m", "frozen": True},
    }
)
TRAINABLE = Towers.model_validate(
    {
        "vision": {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 16},
        "text": {"name": "small_transformer", "weights": "random", "frozen": False},
    }
)
HEAD = Head(dim=8)
SHIFTS = pd.DataFrame({"cluster_id": [0, 1], "cluster_size": [20, 4], "shift": [0.2, 0.1]})


class Samples:
    """Stands for a ShardReader: 24 items, every third with two captions."""

    def __init__(self, folder: Path | None = None) -> None:
        self.samples = []
        for n in range(24):
            captions = [f"caption number {n}", f"again {n}"][: 2 if n % 3 == 0 else 1]
            ids = [f"{n}#{i}" for i in range(len(captions))]
            self.samples.append(
                {"sample_id": str(n), "captions": captions, "caption_ids": ids,
                 "cluster_id": [int(n > 19)] * len(captions)}
            )  # fmt: skip
        self.files = [write_picture(folder / f"{n}.png", n) for n in range(24)] if folder else []

    def __len__(self) -> int:
        return len(self.samples)

    def image_bytes(self, number: int) -> bytes:
        return self.files[number].read_bytes()


def feature_pairs() -> Pairs:
    """Made-up features: a caption's are a turned and noisy copy of its picture's."""
    rng = np.random.default_rng(0)
    vision = rng.standard_normal((24, 12)).astype(np.float32)
    turn = rng.standard_normal((12, 10)).astype(np.float32)

    def encode_text(_: list[str], caption_ids: list[str]) -> Tensor:
        rows = [int(c.split("#")[0]) for c in caption_ids]
        noise = 0.1 * rng.standard_normal((len(rows), 10))
        return torch.from_numpy((vision[rows] @ turn + noise).astype(np.float32))

    rows = {str(n): n for n in range(24)}
    return Pairs(Samples(), vision_rows=(vision, rows), encode_text=encode_text, image_size=16)  # type: ignore[arg-type]


def settings(**more: Any) -> Train:
    base = {"epochs": 6, "batch_size": 8, "learning_rate": 0.01, "weight_decay": 0.1, "head": HEAD}
    return Train(**{**base, "log_every": 1, "device": "cpu", **more})


def run(
    folder: Path, *, seed: int = 0, objective: Any = info_nce, modulator: Any = None,
    alpha: float = 0.1, pairs: Pairs | None = None, **more: Any,
) -> tuple[Trained, TwoTower]:  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pairs = pairs or feature_pairs()
    chosen = settings(**more)
    modulator = modulator or ScheduledShift(SHIFTS, alpha=alpha, period=6)
    torch.manual_seed(seed)
    model = TwoTower(FROZEN, chosen.head, {"vision": 12, "text": 10})
    with RunLog(folder) as log:
        trained = train(model, objective, modulator, pairs, pairs, chosen, seed, log)
    return trained, model


def curves(folder: Path) -> list[dict[str, str]]:
    with open(folder / "curves.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("total", "warmup", "bottom"), [(20, 0, 0.0), (20, 5, 0.001), (7, 3, 0.002)]
)
def test_learning_rate(total: int, warmup: int, bottom: float) -> None:
    chosen = settings(learning_rate=0.01, min_learning_rate=bottom, warmup_steps=warmup)
    found = [learning_rate(step, total, chosen) for step in range(total)]
    wanted = [reference.cosine_rate(step, total, 0.01, bottom, warmup) for step in range(total)]
    assert found == pytest.approx(wanted)
    assert max(found) == pytest.approx(0.01) and found[warmup:] == sorted(
        found[warmup:], reverse=True
    )
    assert learning_rate(total, total, chosen) == pytest.approx(bottom)


def test_warm_up_from_another_rate() -> None:
    """AVION's rates on EPIC-KITCHENS-100: 1e-6 to 3e-5 in the first epoch, then down to 1e-5."""
    chosen = settings(
        learning_rate=3e-5, min_learning_rate=1e-5, warmup_from=1e-6, warmup_steps=100
    )
    rates = [learning_rate(step, 1000, chosen) for step in range(1001)]
    assert rates[0] == pytest.approx(1e-6 + 2.9e-7) and rates[99] == pytest.approx(3e-5)
    assert np.diff(rates[:100]) == pytest.approx(2.9e-7) and rates[550] == pytest.approx(2e-5)
    assert rates[1000] == pytest.approx(1e-5)


def test_linear_rates() -> None:
    """VAST's: a tenth of the steps up, the others down to 0 in a straight line."""
    chosen = settings(learning_rate=3e-5, warmup_steps=10, schedule="linear")
    rates = [learning_rate(step, 110, chosen) for step in range(111)]
    assert np.diff(rates[:10]) == pytest.approx(3e-6)
    assert np.diff(rates[10:]) == pytest.approx(-3e-7)
    assert [rates[at] for at in (9, 10, 60, 110)] == pytest.approx([3e-5, 3e-5, 1.5e-5, 0])


def test_warm_up_longer_than_the_training() -> None:
    chosen = settings(learning_rate=0.01, warmup_steps=100)
    assert learning_rate(4, 10, chosen) == pytest.approx(0.0005)
    assert math.isfinite(learning_rate(100, 10, chosen))


def test_a_warm_up_that_never_ends_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"train\.warmup_steps 18 is not below the 18 steps"):
        run(tmp_path, warmup_steps=18)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == pick_device("cpu").type == "cpu"
    with pytest.raises(InputError, match=r"train\.device is cuda but there is no CUDA device"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"


@pytest.mark.parametrize("objective", [info_nce, max_margin])
def test_training_learns(tmp_path: Path, objective: Any) -> None:
    trained, _ = run(tmp_path, objective=objective, epochs=15)
    points = [row for row in curves(tmp_path) if row["loss"]]
    losses = [float(row["loss"]) for row in points]
    assert len(losses) == trained.total_steps == 45
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert trained.metrics["val/t2v/R@1"] > 0.5 and 400 < trained.metrics["val/rsum"] <= 600
    assert trained.speed is not None and trained.speed.samples_per_second > 0
    assert trained.seconds > 0


def test_the_log(tmp_path: Path) -> None:
    trained, _ = run(tmp_path, epochs=6, validate_every=4, log_every=7, warmup_steps=2)
    rows = {int(row["step"]): row for row in curves(tmp_path)}
    assert [s for s, row in rows.items() if row["loss"]] == [0, 7, 14, 17]
    assert [s for s, row in rows.items() if row["val_rsum"]] == [11, 17]
    assert float(rows[17]["val_rsum"]) == pytest.approx(trained.metrics["val/rsum"])
    for step in (0, 7, 14):
        row, base = rows[step], reference.tau_base(step, 0.1, 6)
        low, mean, high = (float(row[f"tau_{x}"]) for x in ("min", "mean", "max"))
        assert high == pytest.approx(0.2 + base, abs=1e-6) and low <= mean <= high
        assert low == pytest.approx(0.1 + base, abs=1e-6) or low == high
        rate = reference.cosine_rate(step, 18, 0.01, 0, 2)
        assert float(row["learning_rate"]) == pytest.approx(rate)
        assert float(row["grad_norm"]) > 0 and int(row["epoch"]) == step // 3


def test_progress_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a step here, where no time passes between two lines."""
    monkeypatch.delenv("TQDM_DISABLE")
    run(tmp_path / "quick", epochs=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(Progress, "FIRST", 0.0)
    monkeypatch.setattr(Progress, "EVERY", 0.0)
    run(tmp_path / "told", epochs=1)
    lines, rows = capsys.readouterr().err.splitlines(), curves(tmp_path / "told")
    assert len(lines) == 3
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        loss, rate = float(row["loss"]), float(row["learning_rate"])
        begin = f"step {number} of 3: loss {loss:.3f}, learning rate {rate:.3g}, "
        assert line.startswith(begin)
        assert re.fullmatch(r"[\d,]+ samples/s, \d\d:\d\d left", line.removeprefix(begin))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert not Progress(0, 3, 8).due()


def test_progress_is_told_every_so_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After 10 seconds, then every 30; steps of an earlier process do not count as speed."""
    monkeypatch.delenv("TQDM_DISABLE")
    now = [1000.0]
    monkeypatch.setattr("mmts.training.speed.time.monotonic", lambda: now[0])
    progress, told = Progress(100, 1000, 32), []
    for second in range(1, 101):  # a step a second
        now[0] = 1000.0 + second
        if progress.due():
            progress.tell(100 + second, 1.5, 2e-4)
            told.append(second)
    assert told == [10, 40, 70, 100]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "step 200 of 1000: loss 1.500, learning rate 0.0002, 32 samples/s, 13:20 left"


def test_two_runs_with_one_seed_are_bit_equal(tmp_path: Path) -> None:
    (first, one), (again, two), (_, other) = (
        run(tmp_path / str(n), seed=seed, head=Head(dim=8, dropout=0.3))
        for n, seed in enumerate((3, 3, 4))
    )
    assert first.metrics == again.metrics
    assert (tmp_path / "0/curves.csv").read_bytes() == (tmp_path / "1/curves.csv").read_bytes()
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
    assert any(not torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def test_the_random_numbers_that_dropout_has_always_had(tmp_path: Path) -> None:
    """One is drawn before each epoch, 64 bits as a DataLoader's: without, all weights would change.

    There is no dropout here, so that nothing else draws.
    """
    at: list[Tensor] = []
    modulator = ScheduledShift(SHIFTS, alpha=0.1, period=6)
    modulator.register_forward_pre_hook(lambda *_: at.append(torch.get_rng_state()))
    run(tmp_path, seed=7, modulator=modulator, epochs=2)
    at.append(torch.get_rng_state())
    torch.manual_seed(7)
    for epoch in (at[:3], at[3:]):
        torch.empty((), dtype=torch.int64).random_()
        assert all(torch.equal(state, torch.get_rng_state()) for state in epoch)
    assert torch.rand(()).item() == pytest.approx(0.2327615, abs=1e-7)


def test_the_seed_orders_the_batches_too(tmp_path: Path) -> None:
    seen: dict[int, list[list[int]]] = {}

    def spy(seed: int) -> Callable[..., Tensor]:
        def objective(v: Tensor, t: Tensor, tau: Tensor, *, index: Any, positives: None) -> Tensor:
            seen.setdefault(seed, []).append(index[0].tolist())
            return info_nce(v, t, tau)

        return objective

    for seed in (0, 1):
        run(tmp_path / str(seed), seed=seed, objective=spy(seed), epochs=2)
    for batches in seen.values():
        for epoch in (batches[:3], batches[3:]):
            assert sorted(item for batch in epoch for item in batch) == list(range(24))
        assert batches[:3] != batches[3:]
    assert seen[0] != seen[1]


def test_clipping(tmp_path: Path) -> None:
    _, free = run(tmp_path / "free", epochs=1)
    _, loose = run(tmp_path / "loose", epochs=1, clip_grad_norm=1e6)
    _, tight = run(tmp_path / "tight", epochs=1, clip_grad_norm=1e-6)
    name = "vision_head.2.weight"
    assert torch.equal(free.state_dict()[name], loose.state_dict()[name])
    assert not torch.equal(free.state_dict()[name], tight.state_dict()[name])
    norms = [float(row["grad_norm"]) for row in curves(tmp_path / "tight") if row["grad_norm"]]
    assert min(norms) > 1e-3  # what is logged is the norm before clipping


def test_a_loss_that_is_not_a_number_stops(tmp_path: Path) -> None:
    """The samples that it names are those of the step; step 4 is the second of the second epoch."""
    seen: list[list[int]] = []

    def broken(v: Tensor, t: Tensor, tau: Tensor, *, index: Any, positives: None) -> Tensor:
        seen.append(index[0].tolist())
        return info_nce(v, t, tau) * (math.nan if len(seen) > 4 else 1)

    with pytest.raises(
        InputError,
        match=r"not finite at step 4 \(tau 0\.\d+ to 0\.\d+; samples .* and 3 more\); lower",
    ) as caught:
        run(tmp_path, objective=broken)
    assert len(seen) == 5 and not (tmp_path / "curves.csv").exists()
    assert f"; samples {', '.join(map(str, seen[4][:5]))} and" in str(caught.value)


def test_weights_that_explode(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not finite at step \d+ \(tau .*lower train\.learning_r"):
        run(tmp_path, learning_rate=1e30)


def test_a_batch_larger_than_the_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.batch_size 25 is larger than the training split"):
        run(tmp_path, batch_size=25)


def picture_pairs(folder: Path) -> tuple[Pairs, Any]:
    samples = Samples(folder)
    tokenizer = train_tokenizer(c for s in samples.samples for c in s["captions"])
    pairs = Pairs(
        samples,
        vision_rows=None,
        encode_text=lambda c, _: encode(tokenizer, c),
        image_size=16,  # type: ignore[arg-type]
    )
    return pairs, tokenizer


def test_from_pictures_and_tokens(tmp_path: Path) -> None:
    pairs, tokenizer = picture_pairs(tmp_path / "pictures")
    dims = {"vocabulary": tokenizer.get_vocab_size()}
    states = []
    for run_number in range(2):
        folder = tmp_path / str(run_number)
        folder.mkdir()
        torch.manual_seed(0)
        model = TwoTower(TRAINABLE, HEAD, dims)
        modulator = ScheduledShift(SHIFTS, alpha=0, period=1)
        chosen = settings(epochs=3, learning_rate=1e-3)
        with RunLog(folder) as log:
            train(model, info_nce, modulator, pairs, pairs, chosen, 0, log)
        states.append(model.state_dict())
    losses = [float(row["loss"]) for row in curves(tmp_path / "0") if row["loss"]]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    save_model(tmp_path, model, TRAINABLE, HEAD, dims, tokenizer)
    loaded, towers, read, *_ = load_model(tmp_path)
    assert towers == TRAINABLE and read is not None
    cpu = torch.device("cpu")
    for found, wanted in zip(
        encode_split(loaded, pairs, cpu, 5), encode_split(model, pairs, cpu, 24), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert (
        encode(read, ["caption number 3"]).tolist()
        == encode(tokenizer, ["caption number 3"]).tolist()
    )
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is not there"):
        load_model(tmp_path)


def test_augmentation_is_of_training_alone(tmp_path: Path) -> None:
    pairs, tokenizer = picture_pairs(tmp_path / "pictures")
    held_out, _ = picture_pairs(tmp_path / "pictures")
    found = []
    for augment in (False, True, True):
        torch.manual_seed(0)
        model = TwoTower(TRAINABLE, HEAD, {"vocabulary": tokenizer.get_vocab_size()})
        modulator = ScheduledShift(SHIFTS, alpha=0, period=1)
        folder = tmp_path / str(len(found))
        folder.mkdir()
        with RunLog(folder) as log:
            chosen = settings(epochs=1, augment=augment)
            train(model, info_nce, modulator, pairs, held_out, chosen, 0, log)
        found.append(model.state_dict()["vision_head.2.weight"])
        assert not held_out.augment
    assert not torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])


def test_validation_is_retrieval_over_the_whole_split(tmp_path: Path) -> None:
    trained, model = run(tmp_path)
    pairs = feature_pairs()
    vision, text = encode_split(model, pairs, torch.device("cpu"), 5)
    assert vision.shape == (24, 8) and text.shape == (32, 8) and not model.training
    wanted = retrieval_recall(vision, text, pairs.owner)
    assert {
        k.removeprefix("val/"): v for k, v in trained.metrics.items() if k != "val/rsum"
    } == wanted
    assert trained.metrics["val/rsum"] == pytest.approx(100 * sum(wanted.values()))


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    _, model = run(tmp_path / "run")
    save_model(tmp_path, model, FROZEN, HEAD, {"vision": 12, "text": 10}, None)
    loaded, towers, tokenizer, *_ = load_model(tmp_path)
    assert towers == FROZEN and tokenizer is None
    state = loaded.state_dict()
    assert set(state) == set(model.state_dict())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_models_that_are_damaged(tmp_path: Path) -> None:
    _, model = run(tmp_path / "run", epochs=1)
    save_model(tmp_path, model, FROZEN, HEAD, {"vision": 12, "text": 10}, None)
    weights, facts = tmp_path / "model.safetensors", tmp_path / "model.json"
    good, text = weights.read_bytes(), facts.read_text()
    for data in (good[:-40], b"", b"garbage" * 40):
        weights.write_bytes(data)
        with pytest.raises(
            InputError, match=r"model\.safetensors and model\.json do not fit"
        ) as caught:
            load_model(tmp_path)
        assert "run `dvc repro`" in str(caught.value) and "\n" not in str(caught.value)
    weights.write_bytes(good)
    for other in ({"dims": {"vision": 13, "text": 10}}, {"dims": {}}, {"head": {}}, {"towers": 3}):
        facts.write_text(json.dumps({**json.loads(text), **other}))
        with pytest.raises(InputError, match="do not fit"):
            load_model(tmp_path)
    facts.write_text("[]")
    with pytest.raises(InputError, match="do not fit"):
        load_model(tmp_path)
    facts.write_text("{")
    with pytest.raises(InputError, match=r"model\.json is not JSON"):
        load_model(tmp_path)
    facts.write_text(text)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is not there"):
        load_model(tmp_path)


def graded_pairs() -> Pairs:
    """The made-up features with verb and noun classes; every fourth caption is no sentence."""
    pairs = feature_pairs()
    pairs.classes_of = [(item % 3, (item % 4,)) for item in pairs.owner.tolist()]
    pairs.sentence = np.arange(len(pairs.captions)) % 4 > 0
    return pairs


def test_graded_relevancy_is_validated_by_map_and_ndcg(tmp_path: Path) -> None:
    pairs = graded_pairs()
    trained, model = run(tmp_path, pairs=pairs, positive_relevancy=0.1)
    vision, text = encode_split(model, pairs, torch.device("cpu"), 5)
    rows = np.flatnonzero(pairs.sentence)
    classes = pairs.classes_of
    assert classes is not None
    graded = relevancy([classes[i] for i in pairs.first[:-1]], [classes[i] for i in rows])
    scores = (vision @ text[rows].T).numpy()
    for metric, function in (("mAP", mean_average_precision), ("nDCG", ndcg)):
        for way, value in function(scores, graded).items():
            assert trained.metrics[f"val/{metric}/{way}"] == pytest.approx(value)
    assert set(trained.metrics) == {
        f"val/{m}/{w}" for m in ("mAP", "nDCG") for w in ("v2t", "t2v", "avg")
    }
    last = curves(tmp_path)[-1]
    assert float(last["val_mAP"]) == pytest.approx(trained.metrics["val/mAP/avg"])
    assert "val_rsum" not in last


def test_training_without_a_validation_split(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoTower(FROZEN, HEAD, {"vision": 12, "text": 10})
    modulator = ScheduledShift(SHIFTS, alpha=0.1, period=6)
    with RunLog(tmp_path) as log:
        trained = train(model, info_nce, modulator, feature_pairs(), None, settings(), 0, log)
    assert trained.metrics == {} and len(curves(tmp_path)) == 18


@pytest.mark.parametrize(("threads", "wanted"), [(1, 1), (0, 3), (2, 2)])
def test_heads_on_features_use_one_thread(tmp_path: Path, threads: int, wanted: int) -> None:
    """In every step, in validation and in the test, where OMP_NUM_THREADS allows three."""
    used: list[int] = []

    class Counter(ScheduledShift):
        def forward(self, *given: Any) -> Tensor:
            used.append(torch.get_num_threads())
            return super().forward(*given)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        modulator = Counter(SHIFTS, alpha=0.1, period=6)
        _, model = run(tmp_path, modulator=modulator, epochs=1, threads=threads)
        assert set(used) == {wanted} and len(used) == 3
        model.vision_head.register_forward_hook(lambda *_: used.append(torch.get_num_threads()))
        model.text_head.register_forward_hook(lambda *_: used.append(torch.get_num_threads()))
        encode_split(model, feature_pairs(), torch.device("cpu"), 8)
        assert len(used) > 6 and set(used[3:]) == {1} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
