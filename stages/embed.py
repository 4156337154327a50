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

    from mmts.captions_table import read_captions
    from mmts.embed import embed_pictures, embed_texts, refuse_clips
    from mmts.embed_tokens import embed_tokens
    from mmts.embeddings import distinct
    from mmts.files import cache_folder, write_json
    from mmts.kinds.text import TextTower
    from mmts.kinds.vision import VisionTower
    from mmts.planned import Planned
    from mmts.settings.prepared import Embed
    from mmts.towers.tokens import vocabulary_size

    folder, cache = Path("data/captions") / dataset, cache_folder("vectors")
    with (
        Planned("embed", dataset=dataset, inputs=[folder]) as plan,
        plan.output(Path("data/embed") / dataset) as work,
    ):
        settings = plan.settings("embed", Embed)
        vision = plan.settings("vision", VisionTower | None)
        tower = plan.settings("text", TextTower | None)
        captions = read_captions(folder)
        if vision is not None:
            refuse_clips(captions, f"datasets.{dataset}.towers.vision")
        texts, rows = distinct(captions["caption"])
        text = embed_texts(texts, settings.model, settings.batch_size, cache)
        facts = {"text": loaded(settings.model, text.fingerprint)}
        print(f"{len(rows)} captions, {len(texts)} distinct, {text.computed} embedded now")
        np.save(work / "text.npy", text.vectors)
        np.save(work / "caption_text.npy", rows)
        captions[["caption_id", "sample_id"]].to_parquet(work / "ids.parquet", index=False)
        if tower is not None and tower.tokens:
            tokenizer = tower.make_tokenizer(list)
            words = tower.build(vocabulary_size(tokenizer))
            own = embed_tokens(texts, words, tokenizer, tower, settings.batch_size, cache)
            np.save(work / "text_features.npy", own.vectors)
            facts["text_tower"] = loaded(tower.weights, own.fingerprint, words.revision)
        elif tower is not None and tower.weights != settings.model:
            own = embed_texts(texts, tower.weights, settings.batch_size, cache)
            np.save(work / "text_features.npy", own.vectors)
            facts["text_tower"] = loaded(tower.weights, own.fingerprint)
        if vision is not None:
            media = captions.drop_duplicates("sample_id")
            encoder = vision.build()
            seen = embed_pictures(media, encoder, vision, cache)
            np.save(work / "vision.npy", seen.vectors)
            facts["vision_tower"] = loaded(vision.weights, seen.fingerprint, encoder.revision)
            print(f"{len(media)} pictures, features of {seen.computed} computed now")
        write_json(work / "embed.json", facts)


def loaded(model: str, fingerprint: str, revision: str | None = None) -> dict[str, str]:
    """What embed.json says of a model."""
    found = {"model": model, "fingerprint": fingerprint}
    return found if revision is None else {**found, "revision": revision}


if __name__ == "__main__":
    run(main)
