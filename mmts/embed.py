"""Captions -> unit vectors, and pictures -> features of a frozen tower; each content once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from mmts.errors import InputError, first_line
from mmts.files import read_json
from mmts.kinds.vision import of_clips
from mmts.media import MediaFacts, MediaReader, decode_image, square
from mmts.picture import RULES, Pixels
from mmts.vector_cache import (
    UNPADDED,
    VectorCache,
    Vectors,
    by_length,
    content_key,
    lengths,
    through_cache,
)
from mmts.weights import fingerprint, sentence_model

if TYPE_CHECKING:
    from mmts.kinds.vision import VisionKind
    from mmts.towers.tower import Tower

PROBE_TEXT = "a probe of two or more words"
AGAIN = "get the model again"
PICTURES_A_TRANSACTION = 512
PICTURES_A_BATCH = {"cpu": 8, "cuda": 256}  # on a CPU, activations that fit its cache win


class Embedded(NamedTuple):
    """[N, D] float32 vectors, how many were computed now, and the model's fingerprint."""

    vectors: Vectors
    computed: int
    fingerprint: str


def embed_texts(texts: Sequence[str], model: str, batch_size: int, cache: Path) -> Embedded:
    """Unit vectors of sentences by sentence-transformers.

    Args:
        texts: [N] distinct or not; each distinct one is embedded once.
        model: `package:<import name>`, a folder, or a hub id.
        batch_size: sentences a forward pass.
        cache: folder of the cache; one file a model's weights.

    Raises:
        InputError: the model cannot be found or loaded.
    """
    encoder = load_sentence_model(model)

    def encode(batch: list[str]) -> Vectors:
        vectors = encoder.encode(
            batch,
            batch_size=batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, dtype=np.float32)

    def count(rows: list[int]) -> Iterator[int]:
        return map(len, encoder.tokenizer([texts[i] for i in rows], truncation=True)["input_ids"])

    def compute(missing: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        tokens = lengths(missing, count)
        return by_length(missing, tokens, lambda rows: encode([texts[i] for i in rows]), "embed")

    probe = encode([PROBE_TEXT])
    mark = model_mark(_encoder_facts(encoder), probe)
    keys = [content_key(text.encode("utf-8", "surrogatepass")) for text in texts]
    with VectorCache(cache / f"text-{mark[:32]}.sqlite", probe.shape[1]) as store:
        vectors, computed = through_cache(store, keys, compute)
    return Embedded(vectors, computed, mark)


def load_sentence_model(spec: str):  # type: ignore[no-untyped-def]
    """The encoder; an unreachable hub is one line that says what else to do."""
    folder = sentence_model(spec)
    check_modules(Path(folder))
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    from mmts.towers.pretrained import check_layers

    for path in sorted(Path(folder).rglob("config.json")):
        check_layers(read_json(path, AGAIN, ours=False), str(path), AGAIN)
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(folder).eval()
    except Exception as error:  # a damaged model may raise anything
        raise InputError(
            f"{spec} cannot be loaded ({first_line(error)}); give the model's local folder or "
            "`package:<import name>`"
        ) from None


def check_modules(folder: Path) -> None:
    """InputError where a model names classes that are not of sentence-transformers.

    Versions before 6 import them from the folder: that runs code of the model's author.
    """
    path = folder / "modules.json"
    modules = read_json(path, AGAIN, ours=False) if path.exists() else []
    for module in modules if isinstance(modules, list) else [modules]:
        kind = module.get("type") if isinstance(module, dict) else None
        if not isinstance(kind, str) or not kind.startswith("sentence_transformers."):
            raise InputError(
                f"{path} wants {kind!r}, which is refused: it would run code of that folder; take "
                "a model whose modules are all of sentence_transformers"
            )


def _encoder_facts(encoder: Any) -> str:
    """All that a sentence's vector depends on: weights, modules, tokenizer, and no padding."""
    tokenizer = encoder.tokenizer.backend_tokenizer.to_str()
    return "\n".join((fingerprint(encoder.state_dict()), str(encoder), tokenizer, UNPADDED))


def embed_pictures(
    pictures: pd.DataFrame, tower: Tower, settings: VisionKind, cache: Path
) -> Embedded:
    """Features of a frozen vision tower, [N, tower.dim]; equal pictures are computed once.

    On a CPU each thread computes batches of its own, so the features are the same for any number.

    Args:
        pictures: a row a media item: `media`, `sample_id`, `media_bytes` and `media_sha256` of the
            captions table. Only pictures that the cache does not have are read.
        tower: the encoder.
        settings: its entry in params.yaml.
        cache: folder of the cache; one file a model's weights.

    Raises:
        InputError: a picture is not what the captions stage saw, or cannot be decoded.
    """
    from mmts.towers.threads import threads

    reader = MediaReader()
    run = _PictureEncoder(tower)
    media, names, digests = (
        pictures[name].tolist() for name in ("media", "sample_id", "media_sha256")
    )
    sizes = pictures["media_bytes"].tolist()

    def read(row: int) -> tuple[str, bytes]:
        facts = MediaFacts(sizes[row], digests[row])
        return media[row], reader.read_unchanged(media[row], names[row], facts)

    def features(read: list[tuple[str, bytes]]) -> Vectors:
        return run([_pixels(reference, data, settings.image_size) for reference, data in read])

    def compute(missing: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        with (
            threads(1, run.device) as there,
            ThreadPoolExecutor(there) as pool,
            tqdm(total=len(missing), desc="features", unit="img") as bar,
        ):
            count = there if run.device.type == "cpu" else 1
            for start in range(0, len(missing), PICTURES_A_TRANSACTION):
                part = missing[start : start + PICTURES_A_TRANSACTION]
                found: list[Vectors] = []
                for batches in _rounds(part, run.batch, count):
                    found += pool.map(features, [[read(row) for row in rows] for rows in batches])
                    bar.update(sum(map(len, batches)))
                yield part, np.concatenate(found)

    with threads(1, run.device):
        probe = features([("the probe", _probe_picture())])
    mark = model_mark(fingerprint(tower.state_dict()), probe)
    keys = [bytes.fromhex(digest) for digest in digests]  # as content_key of the bytes
    name = f"vision-{settings.name}-{settings.image_size}-{RULES}-{mark[:32]}.sqlite"
    with VectorCache(cache / name, tower.dim) as store:
        vectors, computed = through_cache(store, keys, compute)
    return Embedded(vectors, computed, mark)


def _rounds(
    rows: NDArray[np.int64], size: int, count: int
) -> Iterator[list[NDArray[np.int64]]]:  # fmt: skip
    """The rows in batches of `size`, `count` of them at a time."""
    batches = (rows[start : start + size] for start in range(0, len(rows), size))
    while taken := list(islice(batches, count)):
        yield taken


def _pixels(reference: str, data: bytes, size: int) -> Pixels:
    try:
        return square(decode_image(data), size)
    except InputError as error:
        raise InputError(
            f"{reference}: {error}; it was a picture in the captions stage: put it back, or run "
            "`dvc repro -sf captions`"
        ) from None


def refuse_clips(captions: pd.DataFrame, key: str) -> None:
    """InputError where the media are clips of videos, which no frozen tower takes."""
    if "start" in captions:
        raise InputError(
            f"{key}.frozen is true but {captions['sample_id'].iloc[0]} and the others are clips of "
            f"videos, whose features are not computed ahead; set {key}.name to {of_clips()}, with "
            "a clip_length and `frozen: false`"
        )


class _PictureEncoder:
    """Pixels of pictures -> features, on the fastest device there is."""

    def __init__(self, tower: Tower) -> None:
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch = PICTURES_A_BATCH[self.device.type]
        tower = tower.to(self.device).eval()
        self.tower = tower.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, pictures: list[Pixels]) -> Vectors:
        import torch

        pixels = torch.from_numpy(np.stack(pictures))
        with torch.inference_mode():
            features = self.tower(pixels.to(self.device).permute(0, 3, 1, 2))
        found: Vectors = features.float().cpu().numpy()
        return found


def _probe_picture() -> bytes:
    """A PNG whose features change when decoding, resizing or the tower does."""
    ramp = np.arange(97 * 61 * 4, dtype=np.uint32).reshape(61, 97, 4)
    buffer = io.BytesIO()
    Image.fromarray((ramp * 37 // 16 % 256).astype(np.uint8), "RGBA").save(buffer, "PNG")
    return buffer.getvalue()


def model_mark(facts: str, probe: Vectors) -> str:
    """What names a cache: facts about a model, and what it makes of a probe, to two decimals."""
    rounded = np.round(probe, 2) + 0.0  # + 0.0: no negative zero
    return hashlib.sha256(facts.encode() + rounded.astype(np.float32).tobytes()).hexdigest()
