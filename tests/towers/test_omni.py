"""The omni-modal model: its streams, its context, and matching."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch.nn import functional as F

from mmts.towers.omni import ORDER, letters, stretched
from tests.towers.omni import FRAMES, batch, omni

SUBSETS = [of for count in (1, 2, 3) for of in combinations(ORDER, count)]


@pytest.mark.parametrize("streams", SUBSETS, ids=letters)
def test_any_subset_reads_its_streams_and_no_other(streams: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = omni(streams).eval()
    whole, captions = batch()
    names = {"vision": "frames", "audio": "audio", "subtitle": "subtitle"}
    own = {names[name]: whole[names[name]] for name in streams}
    encoded = model(own, captions)
    assert encoded.vision.shape == encoded.text.shape == (4, 16)
    torch.testing.assert_close(encoded.vision.norm(dim=1), torch.ones(4))
    lengths = {"vision": FRAMES * 5, "audio": 8, "subtitle": 7}
    assert encoded.context is not None
    assert encoded.context.shape == (4, sum(lengths[name] for name in streams), 32)
    assert (model.media_head.bias is None) == (len(streams) == 1)
    loss = encoded.vision.square().sum() + (encoded.text * encoded.vision).sum()
    (loss + model.match(encoded.context, captions).square().sum()).backward()
    idle = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert idle == set()  # DistributedDataParallel waits for every one
    for name in streams:
        changed = {**own, names[name]: own[names[name]].roll(1, 0)}
        other = model(changed, captions)
        assert not torch.allclose(other.vision, encoded.vision, atol=1e-4)
        assert not torch.allclose(other.context, encoded.context, atol=1e-4)


def test_rows_are_one_linear_map_of_the_pooled_features() -> None:
    torch.manual_seed(0)
    model = omni().eval()
    streams, captions = batch()
    with torch.no_grad():
        pooled = [
            model.vision(streams["frames"]),
            model.audio(streams["audio"]),
            model.text(streams["subtitle"]),
        ]
        wanted = F.normalize(model.media_head(torch.cat(pooled, 1)), dim=1)
        assert torch.equal(model.encode_vision(streams).rows, wanted)
        assert torch.equal(model.features(streams), pooled[0])
        text = F.normalize(model.text_head(model.text(captions)), dim=1)
        assert torch.equal(model.encode_text(captions), text)


def test_the_context_is_the_tokens_with_their_kind_and_place() -> None:
    torch.manual_seed(0)
    model = omni().eval()
    streams, _ = batch(2)
    assert model.matching is not None
    with torch.no_grad():
        context = model.encode_vision(streams).context
        project = model.matching.projections
        frame = project["vision"](model.vision.tokens(streams["frames"])[:, 1])
        frame = frame + model.matching.places["vision"][:, 1:2] + model.matching.types["vision"]
        sound = project["audio"](model.audio.tokens(streams["audio"])[:, 0])
        sound = sound + model.matching.places["audio"] + model.matching.types["audio"]
        words = project["subtitle"](model.text.hidden(streams["subtitle"]))
        words = words + model.matching.types["subtitle"]
    assert context is not None
    torch.testing.assert_close(context[:, 5:10], frame)
    torch.testing.assert_close(context[:, 15:23], sound)
    torch.testing.assert_close(context[:, 23:], words)


def test_more_frames_than_in_training_stretch_the_places() -> None:
    places = torch.arange(3.0).view(1, 3, 1)
    assert stretched(places, 6).flatten().tolist() == [0, 0, 1, 1, 2, 2]
    assert stretched(places, 3) is places
    model = omni(("vision",)).eval()
    frames = torch.zeros(1, 2 * FRAMES, 3, 32, 32)
    context = model.encode_vision({"frames": frames}).context
    assert context is not None and context.shape[1] == 2 * FRAMES * 5


def test_texts_of_one_clip_share_its_context() -> None:
    torch.manual_seed(0)
    model = omni().eval()
    streams, captions = batch()
    with torch.no_grad():
        context = model.encode_vision(streams).context
        assert context is not None
        pair = torch.stack([captions, captions.roll(1, 0)], 1)
        logits = model.match(context, pair)
        assert logits.shape == (4, 2, 2)
        torch.testing.assert_close(logits[:, 0], model.match(context, captions))
        torch.testing.assert_close(logits[:, 1], model.match(context, captions.roll(1, 0)))
        assert float((logits[:, 0] - logits[:, 1]).abs().max()) > 1e-3


def test_without_matching_nothing_of_it_is_built() -> None:
    model = omni(matching=False)
    assert not any("cross" in name or "matching" in name for name, _ in model.named_parameters())
    streams, captions = batch()
    assert model(streams, captions).context is None and not model.matches
    with pytest.raises(NotImplementedError, match="Omni cannot match"):
        model.match(torch.zeros(1, 1, 32), captions[:1])


def test_under_autocast_the_context_is_half() -> None:
    torch.manual_seed(0)
    model = omni().eval()
    streams, captions = batch()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            encoded = model(streams, captions)
            assert encoded.context is not None and encoded.context.dtype == torch.bfloat16
            assert encoded.vision.dtype == torch.float32
            logits = model.match(encoded.context, captions)
        whole = model.encode_vision(streams).context
        assert whole is not None and whole.dtype == torch.float32
        wanted = model.match(whole, captions)
    torch.testing.assert_close(logits.float(), wanted, atol=5e-2, rtol=5e-2)
