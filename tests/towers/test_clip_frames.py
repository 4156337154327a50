import json
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from mmts.errors import InputError
from mmts.towers.clip_frames import ClipFrames
from mmts.towers.video_vit import CLIP_MEAN, CLIP_STD
from tests.making_towers import write_clip
from tests.towers.test_video_vit import clip, video


def test_the_mean_of_the_frames() -> None:
    model = clip()
    tower = ClipFrames(model).eval()
    mean, std = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)
    with torch.inference_mode():
        wanted = torch.stack(
            [model(pixel_values=(one - mean) / std).image_embeds.mean(dim=0) for one in video()]
        )
        torch.testing.assert_close(tower(video()), wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tower(video().flip(1)), wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tower(video()[:, 0]), tower(video()[:, :1]))
    assert tower.dim == 20 == wanted.shape[1]


def test_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "projection_dim": 8}
    config = CLIPConfig(
        vision_config={**small, **heads, "image_size": 32, "patch_size": 8},
        text_config={**small, **heads, "vocab_size": 20},
        projection_dim=8,
    )
    whole = CLIPModel(config).eval()
    whole.save_pretrained(tmp_path / "clip")
    tower = ClipFrames.load(str(tmp_path / "clip"), gradient_checkpointing=True).eval()
    with torch.inference_mode():
        pixels = torch.randn(2, 3, 32, 32)
        hidden = whole.vision_model(pixel_values=pixels).pooler_output
        torch.testing.assert_close(tower(pixels), whole.visual_projection(hidden))
    tower.train()(video()).sum().backward()
    state = {k: v for k, v in whole.state_dict().items() if "visual_projection" not in k}
    whole.save_pretrained(tmp_path / "part", state_dict=state)
    with pytest.raises(InputError, match="lacks 1 of a CLIP vision model's weights"):
        ClipFrames.load(str(tmp_path / "part"))


def test_folders_without_clip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        ClipFrames.load(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(InputError, match=r"has no weights \(model\.safetensors or"):
        ClipFrames.load(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="holds no CLIP vision model") as caught:
        ClipFrames.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_gradient_checkpointing_changes_nothing() -> None:
    found = []
    for recompute in (False, True):
        tower = ClipFrames(clip(), gradient_checkpointing=recompute).train()
        tower(video()).square().mean().backward()
        found.append([p.grad for p in tower.parameters()])
    torch.testing.assert_close(found[0], found[1])


def test_frames_of_another_size() -> None:
    for wrong in (video(size=40), video()[0, 0], video()[:, :0]):
        with pytest.raises(InputError, match=r"it must be \[N, T, 3, 32, 32\]: resize"):
            ClipFrames(clip())(wrong)


def test_weights_of_half_precision_become_whole(tmp_path: Path) -> None:
    tower = ClipFrames.load(str(write_clip(tmp_path, half=True)))
    assert {p.dtype for p in tower.parameters()} == {torch.float32}
    assert tower(video()).dtype == torch.float32


@pytest.mark.parametrize("nested", [False, True])
def test_pixels_are_normalised_as_the_model_says(tmp_path: Path, nested: bool) -> None:
    folder = write_clip(tmp_path)
    found = ClipFrames.load(str(folder))
    torch.testing.assert_close(found.mean.flatten(), torch.tensor(CLIP_MEAN))
    torch.testing.assert_close(found.std.flatten(), torch.tensor(CLIP_STD))
    facts = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.1, 0.4]}
    name = "processor_config.json" if nested else "preprocessor_config.json"
    (folder / name).write_text(json.dumps({"image_processor": facts} if nested else facts))
    found = ClipFrames.load(str(folder))
    torch.testing.assert_close(found.mean.flatten(), torch.tensor([127.5, 102.0, 76.5]))
    torch.testing.assert_close(found.std.flatten(), torch.tensor([51.0, 25.5, 102.0]))
    again = ClipFrames.empty(json.loads(json.dumps(found.shape)))
    assert torch.equal(again.mean, found.mean) and torch.equal(again.std, found.std)
