from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmts.errors import InputError
from mmts.kinds.vision import VISION_TOWERS, VisionTower
from mmts.towers.small import SmallCNN, SmallTextTransformer, SmallViT
from mmts.towers.tokens import MAX_TOKENS
from tests.making_towers import vision_tower


def pixels(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", [16, 32, 40])
def test_shapes_and_gradients(size: int) -> None:
    torch.manual_seed(0)
    for tower in (SmallCNN(), SmallViT(size)):
        found = tower(pixels(3, size))
        assert found.shape == (3, tower.dim) and found.dtype == torch.float32
        found.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())


def test_rows_of_a_batch_do_not_meet() -> None:
    torch.manual_seed(0)
    for tower in (SmallCNN().eval(), SmallViT(32).eval()):
        with torch.inference_mode():
            whole = tower(pixels(4, 32))
            torch.testing.assert_close(tower(pixels(4, 32)[1:2]), whole[1:2], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(whole[0], whole[1])


def test_padding_of_texts_does_not_matter() -> None:
    torch.manual_seed(0)
    tower = SmallTextTransformer(50).eval()
    ids = torch.tensor([[5, 6, 7], [8, 0, 0]])
    longer = torch.nn.functional.pad(ids, (0, MAX_TOKENS - 3))
    with torch.inference_mode():
        short, long = tower(ids), tower(longer)
        alone = tower(torch.tensor([[8]]))
    assert short.shape == (2, tower.dim)
    torch.testing.assert_close(short, long, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(short[1:], alone, atol=1e-5, rtol=1e-4)


def test_order_of_words_matters() -> None:
    torch.manual_seed(0)
    tower = SmallTextTransformer(50).eval()
    with torch.inference_mode():
        found = tower(torch.tensor([[5, 6, 7], [7, 6, 5]]))
    assert not torch.allclose(found[0], found[1], atol=1e-4)


def test_weights_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, path = SmallCNN(), tmp_path / "x.safetensors"
    save_file(trained.state_dict(), path)

    def settings(name: str) -> VisionTower:
        return VISION_TOWERS.validated(
            {"name": name, "weights": str(path), "frozen": True, "image_size": 32}
        )

    found = vision_tower(settings("small_cnn")).state_dict()
    assert all(torch.equal(v, found[k]) for k, v in trained.state_dict().items())
    with pytest.raises(InputError, match="holds no small_vit weights") as caught:
        vision_tower(settings("small_vit"))
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match="is no file"):
        vision_tower(settings("small_cnn"))
