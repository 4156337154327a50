"""Published checkpoints -> safetensors: `python -m mmts.towers.convert`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmts.errors import InputError, one_line

if TYPE_CHECKING:
    from torch import Tensor

    from mmts.towers.model_config import Fact, Given

LISTED = 8


def convert(
    source: Path, output: Path, drop: tuple[str, ...] = (), given: "Given | None" = None
) -> dict[str, Any]:
    """Write `towers.safetensors` and `towers.json` into a new folder; return the latter's facts.

    The tensors are called `vision.…` and `text.…` as the parameters of VideoViT or DividedViT and
    ClipText; of VAST, EVA-CLIP and BEATs `vision.…`, `text.…`, `audio.…` and `omni.…` as those of
    EvaClip, Bert, Beats and Omni. The facts: where from (SHA-256), the configuration of each part,
    the logit scale and its tau, what was dropped, all shapes. `load_towers` and `read_part` of
    `mmts.towers.converted` read both.

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
    from mmts.towers.converted import FACTS, WEIGHTS
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
    from mmts.towers import vast_convert, vast_names
    from mmts.towers.checkpoint import entry_of, find_weights, read_weights, tensors
    from mmts.towers.key_maps import family_of, rename
    from mmts.towers.model_config import Given

    source, files = find_weights(source)
    found = read_weights(files)
    entry = entry_of(found)
    entries = {str(key): value for key, value in found.items() if entry and key != entry}
    whole = tensors(found, source)
    family = family_of(whole)
    newest = vast_names.newest(family, whole, source)
    vast_names.refuse_eva02(family, newest, source)
    kept, dropped = _without(newest, drop, vast_names.LEFT_OUT.get(family, ()))
    state, unknown = rename(family, kept)
    if unknown:
        raise InputError(
            f"{source} ({family}) has {len(unknown)} tensors without a place here: "
            f"{_some(unknown)}; leave them out with --drop 'pattern' if they are not needed"
        )
    beside = vast_convert.Beside(source, entries, given or Given())
    if family in vast_names.PAIRS:
        described, wanted = vast_convert.describe(family, state, beside)
        described |= vast_convert.written(family, kept, whole)
    else:
        described = _describe(family, state, source, set(whole), beside.given)
        wanted = _wanted(described)
    facts = {
        "format": 1,
        "family": family,
        "source": {"name": source.name, "sha256": sha256_file(source)},
        **described,
        "dropped": {"entries": sorted(entries), "tensors": dropped},
    }
    if len(files) > 1:
        facts["source"]["parts"] = {path.name: sha256_file(path) for path in files}
    _check(state, wanted, source)
    facts["shapes"] = {name: list(state[name].shape) for name in sorted(state)}
    return state, facts


def _without(
    state: dict[str, "Tensor"], drop: tuple[str, ...], unused: tuple[str, ...]
) -> tuple[dict[str, "Tensor"], list[str]]:
    from fnmatch import fnmatchcase

    from mmts.towers.key_maps import WITHOUT_MEANING

    for pattern in drop:
        if not any(fnmatchcase(name, pattern) for name in state):
            raise InputError(f"--drop {pattern!r} matches no tensor; the first: {_some(state)}")
    gone = {
        name
        for name in state
        for pattern in (*WITHOUT_MEANING, *unused, *drop)
        if fnmatchcase(name, pattern)
    }
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


def _wanted(facts: dict[str, Any]) -> dict[str, list[int]]:
    """Return the shapes of all parameters of both towers."""
    from mmts.towers.converted import empty_towers

    return {
        f"{side}.{name}": list(value.shape)
        for side, tower in zip(("vision", "text"), empty_towers(facts), strict=True)
        for name, value in tower.state_dict().items()
    }


def _check(state: dict[str, "Tensor"], wanted: dict[str, list[int]], source: Path) -> None:
    """Every parameter must be there, in its shape, and nothing else."""
    missing = [name for name in wanted if name not in state]
    if missing:
        raise InputError(f"{source} lacks {len(missing)} tensors (our names): {_some(missing)}")
    more = [name for name in state if name not in wanted]
    if more:
        raise InputError(
            f"{source} has {len(more)} tensors without a place here (our names): {_some(more)}"
        )
    for name, value in state.items():
        if list(value.shape) != wanted[name]:
            raise InputError(
                f"{source}: {name} (our name) is {list(value.shape)}, not {wanted[name]}"
            )


def _some(names: Any) -> str:
    """The first names, and how many more."""
    names = sorted(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _summary(facts: dict[str, Any]) -> list[str]:
    """Return lines that say what was found."""
    from mmts.towers import vast_convert, vast_names

    if facts["family"] in vast_names.PAIRS:
        return vast_convert.summary(facts)
    vision, text, by = facts["vision"], facts["text"], facts["told_by"]
    size = f"{vision['frames']} frames of {vision['image_size']} px"
    return [
        f"{facts['family']}: {facts['attention']} attention, {size}, tau {facts['tau']:.4g}",
        f"{vision['heads']} vision heads (by {by['vision.heads']}), {text['heads']} text heads "
        f"(by {by['text.heads']}), {'QuickGELU' if vision['quick_gelu'] else 'exact GELU'} "
        f"(by {by['quick_gelu']})",
    ]


def main() -> None:
    """The command; what the user can mend is one line on stderr and exit code 1."""
    from typing import Annotated

    import typer

    def command(
        source: Annotated[
            Path, typer.Argument(help="A .pt or .safetensors checkpoint, or a folder with one.")
        ],
        output: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
        back: Annotated[
            bool,
            typer.Option(
                "--back", help="Write a folder of VAST, EVA-CLIP or BEATs as a checkpoint again."
            ),
        ] = False,
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
        """A published checkpoint -> safetensors, without running it: AVION, LaViLa, CLIP, VAST,
        EVA-CLIP, BEATs."""
        from mmts.towers import vast_convert
        from mmts.towers.model_config import Given

        given = Given(vision_heads, text_heads, quick_gelu)
        if back:
            if drop or given != Given():
                raise InputError("--back takes no other options; leave them out")
            return vast_convert.write_back(source, output)
        facts = convert(source, output, tuple(drop or ()), given)
        print("\n".join(_summary(facts)))

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except (InputError, OSError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
