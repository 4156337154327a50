"""Published checkpoints -> safetensors: `python -m mmts.towers.convert`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmts.errors import InputError, one_line

if TYPE_CHECKING:
    from torch import Tensor

    from mmts.towers.model_config import Fact, Given

WEIGHTS, FACTS = "towers.safetensors", "towers.json"
LISTED = 8


def convert(
    source: Path, output: Path, drop: tuple[str, ...] = (), given: "Given | None" = None
) -> dict[str, Any]:
    """Write `towers.safetensors` and `towers.json` into a new folder; return the latter's facts.

    The tensors are called `vision.…` and `text.…` as the parameters of VideoViT or DividedViT and
    ClipText. The facts: where from (SHA-256), both towers' configurations, the logit scale and its
    tau, what was dropped, all shapes. `mmts.towers.converted.load_towers` reads both.

    Args:
        source: a checkpoint that torch.save wrote, a .safetensors file with the same names, an
            index of several of either, or a folder of the hub with one of these.
        output: a folder that does not exist yet.
        drop: glob patterns of tensors to leave out.
        given: what neither the weights nor a configuration beside them tell.

    Raises:
        InputError: the file cannot be read safely, is of no known family, has tensors that have no
            place here, or lacks some; or nothing tells the heads or the GELU; or `output` exists.
    """
    from mmts.files import output_folder, write_json
    from mmts.weights import save_tensors

    if output.exists():
        raise InputError(f"{output} exists; name a folder that does not")
    state, facts = read_released(source, drop, given)
    with output_folder(output) as work:
        save_tensors(work / WEIGHTS, state)
        write_json(work / FACTS, facts)
    return facts


def read_released(
    source: Path, drop: tuple[str, ...] = (), given: "Given | None" = None
) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """The tensors under our names, and the facts; arguments and errors as in `convert`."""
    from mmts.sealed import sha256_file
    from mmts.towers.checkpoint import find_weights, read_weights, tensors
    from mmts.towers.key_maps import family_of, rename
    from mmts.towers.model_config import Given

    source, files = find_weights(source)
    found = read_weights(files)
    entries = (
        sorted(str(key) for key in found if key != "state_dict") if "state_dict" in found else []
    )
    whole = tensors(found, source)
    state, dropped = _without(whole, drop)
    family = family_of(state)
    state, unknown = rename(family, state)
    if unknown:
        raise InputError(
            f"{source} ({family}) has {len(unknown)} tensors without a place here: "
            f"{_some(unknown)}; leave them out with --drop 'pattern' if they are not needed"
        )
    facts = {
        "format": 1,
        "family": family,
        "source": {"name": source.name, "sha256": sha256_file(source)},
        **_describe(family, state, source, set(whole), given or Given()),
        "dropped": {"entries": entries, "tensors": dropped},
    }
    if len(files) > 1:
        facts["source"]["parts"] = {path.name: sha256_file(path) for path in files}
    _check(state, facts, source)
    facts["shapes"] = {name: list(state[name].shape) for name in sorted(state)}
    return state, facts


def _without(
    state: dict[str, "Tensor"], drop: tuple[str, ...]
) -> tuple[dict[str, "Tensor"], list[str]]:
    from fnmatch import fnmatchcase

    from mmts.towers.key_maps import WITHOUT_MEANING

    for pattern in drop:
        if not any(fnmatchcase(name, pattern) for name in state):
            raise InputError(f"--drop {pattern!r} matches no tensor; the first: {_some(state)}")
    gone = [
        name
        for name in state
        if name in WITHOUT_MEANING or any(fnmatchcase(name, pattern) for pattern in drop)
    ]
    return {name: value for name, value in state.items() if name not in gone}, sorted(gone)


def _describe(
    family: str, state: dict[str, "Tensor"], source: Path, names: set[str], given: "Given"
) -> dict[str, Any]:
    """Configurations and logit scale, from shapes and what is known beside them."""
    import math

    from mmts.towers.model_config import model_facts
    from mmts.towers.video_vit import AVION_MEAN, CLIP_MEAN

    try:
        scale = float(state.pop("logit_scale"))
        width, _, patch, _ = state["vision.patches.weight"].shape
        grid = math.isqrt(len(state["vision.position"]) - 1)
        vocabulary, text_width = state["text.tokens.weight"].shape
        own = family in ("avion", "lavila")
        known = model_facts(family, names, {"vision": width, "text": text_width}, source, given)
        state.setdefault("vision.temporal", state["vision.cls"].new_zeros(1, width))
        vision: dict[str, Any] = {
            "image_size": grid * patch,
            "patch_size": patch,
            "width": width,
            "layers": _layers(state, "vision"),
            "heads": known["vision.heads"].value,
            "frames": len(state["vision.temporal"]),
            "dim": len(state["vision.projection.weight"]),
            "quick_gelu": known["quick_gelu"].value,
            "norm_eps": 1e-6 if own else _value(known, "vision.norm_eps", 1e-5),
            "mean": list(AVION_MEAN if own else CLIP_MEAN),
            **{key: known[key].value for key in ("mean", "std") if key in known},
            **_mlp(state, "vision", width),
        }
        text: dict[str, Any] = {
            "context": len(state["text.position"]),
            "vocabulary": vocabulary,
            "width": text_width,
            "layers": _layers(state, "text"),
            "heads": known["text.heads"].value,
            "dim": len(state["text.projection.weight"]),
            "quick_gelu": known["quick_gelu"].value,
            "norm_eps": _value(known, "text.norm_eps", 1e-5),
            **_mlp(state, "text", text_width),
        }
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{source} ({family}) lacks {error.args[0]} (our name for it)") from None
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{source} ({family}): a tensor has an odd shape ({error})") from None
    if not math.isfinite(scale):
        raise InputError(f"{source} ({family}): logit_scale is {scale}; it must be finite")
    return {
        "attention": "divided" if family == "lavila" else "joint",
        "vision": vision,
        "text": text,
        "told_by": {key: found.source for key, found in known.items()},
        "logit_scale": scale,
        "tau": math.exp(-scale),
    }


def _value(known: "dict[str, Fact]", key: str, default: Any) -> Any:
    return known[key].value if key in known else default


def _mlp(state: dict[str, "Tensor"], tower: str, width: int) -> dict[str, int]:
    """Return the width inside the MLPs, where it is not four times that of the tower."""
    found = len(state[f"{tower}.blocks.0.mlp.fc1.weight"])
    return {} if found == 4 * width else {"mlp": found}


def _layers(state: dict[str, "Tensor"], tower: str) -> int:
    return len({name.split(".")[2] for name in state if name.startswith(f"{tower}.blocks.")})


def _check(state: dict[str, "Tensor"], facts: dict[str, Any], source: Path) -> None:
    """Every parameter of both towers must be there, in its shape."""
    from mmts.towers.converted import empty_towers

    wanted = {
        f"{side}.{name}": list(value.shape)
        for side, tower in zip(("vision", "text"), empty_towers(facts), strict=True)
        for name, value in tower.state_dict().items()
    }
    missing = [name for name in wanted if name not in state]
    if missing:
        raise InputError(f"{source} lacks {len(missing)} tensors (our names): {_some(missing)}")
    for name, value in state.items():
        if list(value.shape) != wanted.get(name):
            raise InputError(
                f"{source}: {name} (our name) is {list(value.shape)}, not {wanted.get(name)}"
            )


def _some(names: Any) -> str:
    """The first names, and how many more."""
    names = sorted(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def main() -> None:
    """The command; what the user can mend is one line on stderr and exit code 1."""
    from typing import Annotated

    import typer

    def command(
        source: Annotated[
            Path, typer.Argument(help="A .pt or .safetensors checkpoint, or a folder of the hub.")
        ],
        output: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
        drop: Annotated[
            list[str] | None, typer.Option(help="Leave out tensors: a glob pattern; repeatable.")
        ] = None,
        vision_heads: Annotated[
            int | None, typer.Option(min=1, help="Attention heads of the vision side.")
        ] = None,
        text_heads: Annotated[
            int | None, typer.Option(min=1, help="Attention heads of the text side.")
        ] = None,
        quick_gelu: Annotated[
            bool | None, typer.Option("--quick-gelu/--no-quick-gelu", help="Which GELU it has.")
        ] = None,
    ) -> None:
        """A published checkpoint of AVION, LaViLa or CLIP -> safetensors, without running it."""
        from mmts.towers.model_config import Given

        given = Given(vision_heads, text_heads, quick_gelu)
        facts = convert(source, output, tuple(drop or ()), given)
        size = f"{facts['vision']['frames']} frames of {facts['vision']['image_size']} px"
        print(f"{facts['family']}: {facts['attention']} attention, {size}, tau {facts['tau']:.4g}")
        vision, text, by = facts["vision"], facts["text"], facts["told_by"]
        print(
            f"{vision['heads']} vision heads (by {by['vision.heads']}), {text['heads']} text heads "
            f"(by {by['text.heads']}), {'QuickGELU' if vision['quick_gelu'] else 'exact GELU'} "
            f"(by {by['quick_gelu']})"
        )

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except (InputError, OSError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
