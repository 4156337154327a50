"""Captions -> features of a frozen text tower that reads tokens; each distinct caption once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mmts.embed import PROBE_TEXT, Embedded, model_mark
from mmts.towers.tokens import encode, telling
from mmts.towers.tower import Tower
from mmts.vector_cache import (
    UNPADDED,
    VectorCache,
    Vectors,
    by_length,
    content_key,
    lengths,
    through_cache,
)
from mmts.weights import fingerprint

if TYPE_CHECKING:
    from mmts.kinds.text import TextKind


def embed_tokens(
    texts: Sequence[str],
    tower: Tower,
    tokenizer: Tokenizer,
    settings: TextKind,
    batch_size: int,
    cache: Path,
) -> Embedded:
    """Features of a frozen text tower, [N, tower.dim]; they are not normalised.

    Args:
        texts: [N] distinct or not; each distinct one is computed once.
        tower, tokenizer: as the settings build them.
        settings: `towers.text`.
        batch_size: captions a forward pass.
        cache: folder of the cache; one file a model's weights, tokenizer and pooling.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tower = tower.to(device).eval()

    def run(batch: list[str]) -> Vectors:
        with torch.inference_mode():
            found: Vectors = tower(encode(tokenizer, batch).to(device)).float().cpu().numpy()
        return found

    def of_one_length(rows: NDArray[np.int64]) -> Vectors:
        starts = range(0, len(rows), batch_size)
        return np.concatenate([run([texts[i] for i in rows[s : s + batch_size]]) for s in starts])

    def count(rows: list[int]) -> list[int]:
        with telling():
            found = tokenizer.encode_batch([texts[i] for i in rows])
        return [sum(ids.attention_mask) for ids in found]

    def compute(missing: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        return by_length(missing, lengths(missing, count), of_one_length, "features")

    pooling = str(getattr(settings, "pooling", None))
    facts = (fingerprint(tower.state_dict()), pooling, tokenizer.to_str(), UNPADDED)
    mark = model_mark("\n".join(facts), run([PROBE_TEXT]))
    keys = [content_key(text.encode("utf-8", "surrogatepass")) for text in texts]
    with VectorCache(cache / f"text-{settings.name}-{mark[:32]}.sqlite", tower.dim) as store:
        vectors, computed = through_cache(store, keys, compute)
    return Embedded(vectors, computed, mark)
