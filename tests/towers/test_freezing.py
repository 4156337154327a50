import pytest
from torch import nn

from mmts.errors import InputError
from mmts.towers.freezing import freeze


def model() -> nn.Module:
    def tower() -> nn.Module:
        return nn.ModuleDict(
            {
                "blocks": nn.ModuleList(nn.Linear(2, 2) for _ in range(11)),
                "norm": nn.LayerNorm(2),
            }
        )

    return nn.ModuleDict({"vision": tower(), "text": tower()})


def frozen(made: nn.Module) -> list[str]:
    return [name for name, p in made.named_parameters() if not p.requires_grad]


def test_what_matches_is_frozen() -> None:
    made = model()
    wanted = ["vision.blocks.1.weight", "vision.blocks.1.bias"]
    assert freeze(made, ["vision.blocks.1.*"]) == wanted == frozen(made)
    assert freeze(made, ["*.norm.bias"]) == ["vision.norm.bias", "text.norm.bias"]
    assert len(frozen(made)) == 4
    assert freeze(made, ["text.*", "text.norm.*"]) == [
        n for n, _ in made.named_parameters() if n.startswith("text.")
    ]
    assert freeze(made, []) == []


def test_a_pattern_that_matches_nothing() -> None:
    for pattern, near in (
        ("visual.blocks.1.*", r"vision\.blocks\.1\.\*"),
        ("vision.blocks.12.*", r"vision\.blocks\.1"),
        ("vision.norm", r"vision\.norm\.\*"),
        ("VISION.*", "towers.frozen_parts: 'VISION"),
    ):
        made = model()
        with pytest.raises(InputError, match=near) as caught:
            freeze(made, ["text.*", pattern])
        assert "\n" not in str(caught.value) and frozen(made) == []
