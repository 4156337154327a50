"""A trained model on disk: model.safetensors, model.json, and tokenizer.json where it has one."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from tokenizers import Tokenizer

from mmts.errors import InputError
from mmts.files import read_json, require, write_json
from mmts.settings import Head, Towers
from mmts.towers.tokens import read_tokenizer
from mmts.towers.two_tower import TwoTower

REMEDY = "run `dvc repro` from the train stage on"


def save_model(
    folder: Path, model: TwoTower, towers: Towers, head: Head, dims: dict[str, int],
    tokenizer: Tokenizer | None,
) -> None:  # fmt: skip
    """Write the weights and everything needed to build the model again."""
    from safetensors.torch import save_file

    save_file({k: v.contiguous().cpu() for k, v in model.state_dict().items()},
              folder / "model.safetensors")  # fmt: skip
    facts = {"towers": towers.model_dump(), "head": head.model_dump(), "dims": dims}
    write_json(folder / "model.json", facts)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))


def load_model(folder: Path) -> tuple[TwoTower, Towers, Tokenizer | None]:
    """The model in `folder`, its towers' settings and its tokenizer.

    Raises:
        InputError: a file is missing, damaged, or of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    facts = read_json(folder / "model.json", REMEDY)
    path = require(folder / "model.safetensors", REMEDY)
    try:
        towers = Towers.model_validate(facts["towers"])
        vision = towers.vision.model_copy(update={"weights": "random"})  # all weights are in `path`
        model = TwoTower(
            towers.model_copy(update={"vision": vision}),
            Head.model_validate(facts["head"]),
            facts["dims"],
        )
        model.load_state_dict(load_file(path))
    except (KeyError, TypeError, ValidationError, RuntimeError, SafetensorError) as error:
        problem = " ".join(str(error).split())[:160]
        raise InputError(f"{path} and model.json do not fit ({problem}); {REMEDY}") from None
    tokenizer = None if towers.text.frozen else read_tokenizer(folder / "tokenizer.json")
    return model, towers, tokenizer
