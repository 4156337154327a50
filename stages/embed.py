"""Stage `embed`: captions -> unit vectors, pictures -> features of the frozen vision tower."""

from typing import Annotated

import typer

from stages.cli import run


def main(
    dataset: Annotated[str, typer.Option(help="A name under `datasets` in params.yaml.")],
) -> None:
    """Embed each distinct caption and picture once; what the cache has is not computed again."""
    from pathlib import Path

    import numpy as np

    from mmts.captions import read_captions
    from mmts.config import EmbedStage, load
    from mmts.embed import distinct, embed_pictures, embed_texts, refuse_clips
    from mmts.files import output_folder, write_json
    from mmts.towers.build import vision_tower

    settings = load(EmbedStage, dataset=dataset)
    captions = read_captions(Path("data/captions") / dataset)
    if settings.towers.vision.frozen:
        refuse_clips(captions, f"datasets.{dataset}.towers.vision")
    cache = Path("data/cache/vectors")
    texts, rows = distinct(captions["caption"])
    text = embed_texts(texts, settings.embed.model, settings.embed.batch_size, cache)
    facts = {"text": {"model": settings.embed.model, "fingerprint": text.fingerprint}}
    print(f"{len(rows)} captions, {len(texts)} distinct, {text.computed} embedded now")
    with output_folder(Path("data/embed") / dataset) as work:
        np.save(work / "text.npy", text.vectors)
        np.save(work / "caption_text.npy", rows)
        captions[["caption_id", "sample_id"]].to_parquet(work / "ids.parquet", index=False)
        tower = settings.towers.text
        if tower.frozen and tower.weights != settings.embed.model:
            own = embed_texts(texts, tower.weights, settings.embed.batch_size, cache)
            np.save(work / "text_features.npy", own.vectors)
            facts["text_tower"] = {"model": tower.weights, "fingerprint": own.fingerprint}
        if settings.towers.vision.frozen:
            media = list(captions.drop_duplicates("sample_id")["media"])
            encoder = vision_tower(settings.towers.vision)
            seen = embed_pictures(media, encoder, settings.towers.vision, cache)
            np.save(work / "vision.npy", seen.vectors)
            facts["vision_tower"] = {
                "model": settings.towers.vision.weights,
                "fingerprint": seen.fingerprint,
            }
            print(f"{len(media)} pictures, features of {seen.computed} computed now")
        write_json(work / "embed.json", facts)


if __name__ == "__main__":
    run(main)
