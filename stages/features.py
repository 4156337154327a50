"""`python -m stages.features`: vectors of a trained model, or of a text tower, to cluster by.

It is no stage: clusters of a model's own features need the shards, which have clusters already. A
clustering with `features: file` names what it writes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.cli import run

if TYPE_CHECKING:
    import pandas as pd


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
    output: Annotated[
        Path, typer.Option(help="Parquet file to write; the page calls the vectors by its name.")
    ],
    method: Annotated[
        str | None, typer.Option(help="Of a trained model: features of all media items.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the model.")] = 0,
    untrained: Annotated[
        bool, typer.Option(help="The dataset's model instead, as its weights are: untrained.")
    ] = False,
    text_weights: Annotated[
        str | None,
        typer.Option(help="Weights of a CLIP text tower instead: features of all captions."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Of the text tower, where it is not beside the weights.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Encoded at once.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode; 0 for none.")] = 0,
) -> None:
    """Write a vector for each media item or caption of all splits."""
    from mmts.captions_table import read_captions
    from mmts.errors import InputError

    if (method is not None) + untrained + (text_weights is not None) != 1:
        raise InputError(
            "give one of --method, for features of a trained model, --untrained, for those of the "
            "model before, or --text-weights, for those of a text tower"
        )
    captions = read_captions(Path("data/captions") / dataset)
    if method is not None or untrained:
        trained = None if method is None else Path("data/train") / dataset / method / str(seed)
        of_media(captions, dataset, trained, output, batch_size, workers, seed)
    elif text_weights is not None:
        of_captions(captions, text_weights, tokenizer or text_weights, output, batch_size)


def of_media(
    captions: "pd.DataFrame", dataset: str, trained: Path | None, output: Path, batch_size: int,
    workers: int, seed: int,
) -> None:  # fmt: skip
    """Write the features of all media items that are packed, by the model in a folder.

    Without a folder it is the model of params.yaml, as its weights are.

    Those that were lost in packing stand there without a vector.
    """
    import numpy as np
    import torch

    from mmts import config
    from mmts.feature_files import write_features
    from mmts.kinds.model import Parts
    from mmts.shards.reader import read_manifest
    from mmts.training.device import pick_device
    from mmts.training.inputs import Inputs
    from mmts.training.saved import load_model
    from mmts.training.validation import encode_features

    if trained is not None:
        model, towers, tokenizer, streams, kind = load_model(trained)
        inputs = Inputs(Path("data"), dataset, towers, streams=streams, kind=kind)
    else:
        of = config.load().datasets[dataset]
        inputs = Inputs(Path("data"), dataset, of.towers, streams=of.streams, kind=of.model)
        tokenizer = inputs.tokenizer()
        parts = Parts(of.towers, of.train.head, inputs.dims, inputs.streams)
        torch.manual_seed(seed)  # of what has no weights
        model = of.model.build(parts)
    device, found = pick_device("auto"), []
    ids: list[str] = []
    for split, count in read_manifest(inputs.shards)["samples"].items():
        if count:
            pairs = inputs.pairs(split, tokenizer)
            found.append(encode_features(model.to(device), pairs, device, batch_size, workers))
            ids += pairs.sample_ids
    vectors = np.concatenate(found)
    every = captions["sample_id"].drop_duplicates()
    lost = every[~every.isin(ids)].tolist()
    write_features(output, "sample_id", ids, vectors, lost)
    told = f"; {len(lost):,} that were lost in packing have none" if lost else ""
    print(f"{output}: {len(ids):,} media items, vectors of {vectors.shape[1]}{told}")


def of_captions(
    captions: "pd.DataFrame", weights: str, tokenizer: str, output: Path, batch_size: int
) -> None:
    """Write the features of all captions, by a CLIP text tower."""
    from mmts.embed_tokens import embed_tokens
    from mmts.embeddings import distinct
    from mmts.feature_files import write_features
    from mmts.files import cache_folder
    from mmts.kinds.text import TEXT_TOWERS
    from mmts.towers.tokens import vocabulary_size

    named = {"name": "clip_text", "weights": weights, "tokenizer": tokenizer, "frozen": True}
    settings = TEXT_TOWERS.validated(named)
    pieces = settings.make_tokenizer(list)
    tower = settings.build(vocabulary_size(pieces))
    texts, rows = distinct(captions["caption"])
    cache = cache_folder("vectors")
    found = embed_tokens(texts, tower, pieces, settings, batch_size, cache).vectors
    write_features(output, "caption_id", captions["caption_id"], found[rows])
    print(f"{output}: {len(rows):,} captions, vectors of {found.shape[1]}")


if __name__ == "__main__":
    run(main)
