"""What weights do not tell about a model, from the configuration beside them or from the user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmts.errors import InputError, in_short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OPENAI = ("input_resolution", "context_length", "vocab_size")
"""Entries that OpenAI's own files have beside their parameters."""
HEAD_WIDTH = 64
"""Of OpenAI's, AVION's and LaViLa's models; those of open_clip have others too."""
SIDES = ("vision", "text")
CONFIGS = {
    "openai": ("open_clip_config.json", "config.json"),
    "transformers": ("config.json", "open_clip_config.json"),
}
"""The files that may say it, the family's own first."""
OPTIONS = {
    "vision.heads": "--vision-heads N (ViT-B 12; ViT-L, H, g and bigG 16)",
    "text.heads": "--text-heads N (a head a 64 of the width)",
    "quick_gelu": "--quick-gelu (OpenAI, MetaCLIP) or --no-quick-gelu (LAION, DataComp)",
}
MODEL_TYPES = ("clip", "clip_text_model", "clip_vision_model")
UNSUPPORTED = {
    "timm_model_name": None, "hf_model_name": None, "attentional_pool": False,
    "global_average_pool": False, "final_ln_after_pool": False, "no_causal_mask": False,
    "embed_cls": False, "act_kwargs": None,
}  # fmt: skip
"""Settings of open_clip that change the features, with the value that our towers have."""


class Given(NamedTuple):
    """What the user says of a model; None is not said."""

    vision_heads: int | None = None
    text_heads: int | None = None
    quick_gelu: bool | None = None


class Fact(NamedTuple):
    """A value, and who says so."""

    value: Any
    source: str


def model_facts(
    family: str, names: Iterable[str], widths: Mapping[str, int], source: Path, given: Given
) -> dict[str, Fact]:
    """Return the heads of both sides, `quick_gelu` and more where it is known: colours, epsilons.

    An option is believed before a configuration.

    Args:
        family: What the tensors are called like.
        names: Of the tensors, as they are in the file.
        widths: Of both sides.
        source: The file of the weights; configurations lie beside it.
        given: What the options say.

    Raises:
        InputError: Something is not known, or the configuration is of another model.
    """
    found: dict[str, Fact] = {}
    if family in ("avion", "lavila") or set(OPENAI) <= set(names):
        owner = family if family != "openai" else "OpenAI"
        for side in SIDES:
            found[f"{side}.heads"] = Fact(widths[side] // HEAD_WIDTH, f"{owner}'s code")
        found["quick_gelu"] = Fact(family != "avion", f"{owner}'s code")
    else:
        for name in CONFIGS[family]:
            for key, value in _of_config(source.parent / name, widths).items():
                found.setdefault(key, Fact(value, name))
    for key, value in given._asdict().items():
        if value is not None:
            name = key if key == "quick_gelu" else key.replace("_", ".")
            found[name] = Fact(value, "the option")
    missing = [text for key, text in OPTIONS.items() if key not in found]
    if missing:
        raise InputError(
            f"{source} ({family}) does not tell the number of heads or which GELU; put its "
            f"{' or '.join(CONFIGS[family])} beside it, or add {', '.join(missing)}"
        )
    return found


def _of_config(path: Path, widths: Mapping[str, int]) -> dict[str, Any]:
    """Return what a configuration says; nothing where there is none, or it says nothing of CLIP."""
    from mmts.files import read_json

    if not path.is_file():
        return {}
    found = read_json(path, "get the model again", ours=False)
    if not isinstance(found, dict):
        raise InputError(f"{path} is no mapping of settings; get the model again")
    try:
        if path.name == "config.json":
            return _of_transformers(path, found, widths)
        return _of_open_clip(path, found, widths)
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        problem = in_short(error)
        raise InputError(f"{path} has odd settings ({problem}); get the model again") from None


def _of_transformers(
    path: Path, found: dict[str, Any], widths: Mapping[str, int]
) -> dict[str, Any]:
    from mmts.towers.pretrained import colours

    if found.get("model_type") not in (None, *MODEL_TYPES):
        raise InputError(f"{path} is of a {found['model_type']} model; convert takes clip")
    said: dict[str, Any] = {}
    acts = set()
    for side, heads, width in (("vision", 12, 768), ("text", 8, 512)):  # transformers' defaults
        part = found.get(f"{side}_config") or {}
        if not part and side == "vision" and "hidden_act" in found:
            part = found
        _check_width(path, side, int(part.get("hidden_size", width)), widths)
        said[f"{side}.heads"] = int(part.get("num_attention_heads", heads))
        said[f"{side}.norm_eps"] = float(part.get("layer_norm_eps", 1e-5))
        acts.add(part.get("hidden_act", found.get("hidden_act", "quick_gelu")))
    said["quick_gelu"] = _gelu(path, acts)
    return said | {key: list(value) for key, value in colours(path.parent).items()}


def _gelu(path: Path, acts: set[Any]) -> bool:
    if len(acts) != 1 or not acts <= {"gelu", "quick_gelu"}:
        raise InputError(
            f"{path} has hidden_act {', '.join(sorted(map(str, acts)))}; it must be gelu or "
            "quick_gelu, the same for both sides"
        )
    return acts == {"quick_gelu"}


def _of_open_clip(path: Path, found: dict[str, Any], widths: Mapping[str, int]) -> dict[str, Any]:
    model = found.get("model_cfg", found)
    vision, text = model["vision_cfg"], model["text_cfg"]
    for part in (vision, text):
        for key, value in UNSUPPORTED.items():
            if part.get(key, value) not in (value, None, {}):
                raise InputError(f"{path} has {key} {part[key]!r}, which the towers here do not")
    _check_width(path, "vision", int(vision["width"]), widths)
    _check_width(path, "text", int(text["width"]), widths)
    said: dict[str, Any] = {
        "vision.heads": int(vision["width"]) // int(vision.get("head_width", HEAD_WIDTH)),
        "text.heads": int(text["heads"]),
        "quick_gelu": bool(model.get("quick_gelu", False)),
    }
    for key in ("mean", "std"):
        colour = (found.get("preprocess_cfg") or {}).get(key)
        if colour is not None:
            red, green, blue = (255 * float(value) for value in colour)
            said[key] = [red, green, blue]
    return said


def _check_width(path: Path, side: str, width: int, widths: Mapping[str, int]) -> None:
    if width != widths[side]:
        raise InputError(
            f"{path} is of another model: its {side} side is {width} wide, that of the weights "
            f"{widths[side]}; get the one that belongs to them"
        )
