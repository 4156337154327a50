"""Captions -> unit vectors, and pictures -> features of a frozen tower; each content once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from mmts.errors import InputError
from mmts.files import require
from mmts.media import MediaReader, decode_image, square
from mmts.settings import VisionTower
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
    from mmts.towers.tower import Tower

PROBE_TEXT = "a probe of two or more words"
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
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return SentenceTransformer(folder).eval()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise InputError(
            f"{spec} cannot be loaded ({str(error).splitlines()[0]}); give the model's local "
            "folder or `package:<import name>`"
        ) from None


def _encoder_facts(encoder: Any) -> str:
    """All that a sentence's vector depends on: weights, modules, tokenizer, and no padding."""
    tokenizer = encoder.tokenizer.backend_tokenizer.to_str()
    return "\n".join((fingerprint(encoder.state_dict()), str(encoder), tokenizer, UNPADDED))


def embed_pictures(
    references: Sequence[str], tower: Tower, settings: VisionTower, cache: Path
) -> Embedded:
    """Features of a frozen vision tower, [N, tower.dim]; equal pictures are computed once."""
    reader = MediaReader()
    run = _PictureEncoder(tower, settings.image_size)

    def compute(missing: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        with tqdm(total=len(missing), desc="features", unit="img") as bar:
            for start in range(0, len(missing), PICTURES_A_TRANSACTION):
                part = missing[start : start + PICTURES_A_TRANSACTION]
                found = []
                for first in range(0, len(part), run.batch):
                    rows = part[first : first + run.batch]
                    found.append(run([reader.read(references[i]) for i in rows]))
                    bar.update(len(rows))
                yield part, np.concatenate(found)

    mark = model_mark(fingerprint(tower.state_dict()), run([_probe_picture()]))
    keys = [content_key(reader.read(reference)) for reference in references]
    name = f"vision-{settings.name}-{settings.image_size}-{mark[:32]}.sqlite"
    with VectorCache(cache / name, tower.dim) as store:
        vectors, computed = through_cache(store, keys, compute)
    return Embedded(vectors, computed, mark)


def refuse_clips(captions: pd.DataFrame, key: str) -> None:
    """InputError where the media are clips of videos, which no frozen tower takes."""
    if "start" in captions:
        raise InputError(
            f"{key}.frozen is true but {captions['sample_id'].iloc[0]} and the others are clips of "
            f"videos, whose features are not computed ahead; set {key}.name to video_vit, "
            "divided_vit or clip_frames, with a clip_length and `frozen: false`"
        )


class _PictureEncoder:
    """Files of pictures -> features, on the fastest device there is."""

    def __init__(self, tower: Tower, size: int) -> None:
        import torch

        self.size = size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch = PICTURES_A_BATCH[self.device.type]
        tower = tower.to(self.device).eval()
        self.tower = tower.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, files: list[bytes]) -> Vectors:
        import torch

        pixels = np.stack([square(decode_image(data), self.size) for data in files])
        with torch.inference_mode():
            features = self.tower(torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2))
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


class Embeddings(NamedTuple):
    """What `embed` wrote for one dataset.

    text: [U, D], a row a distinct caption. caption_text: [captions], its row.
    vision: [media items, Dv] in order of first appearance in the captions table, or None.
    text_features: [U, Dt] of the frozen text tower.
    """

    text: Vectors
    caption_text: NDArray[np.int64]
    vision: Vectors | None
    text_features: Vectors | None


def distinct(captions: pd.Series) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct captions in order of first appearance, and for each row which one it has."""
    rows, texts = pd.factorize(captions)
    return [str(text) for text in texts], rows.astype(np.int64)


def read_embeddings(folder: Path) -> Embeddings:
    """The arrays of `data/embed/<dataset>`, memory-mapped."""

    def array(name: str) -> NDArray[np.float32]:
        path = require(folder / name, "run `dvc repro` from the embed stage on")
        try:
            found: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged ({error}); run `dvc repro -sf embed`") from None
        return found

    vision = array("vision.npy") if (folder / "vision.npy").exists() else None
    tower = array("text_features.npy") if (folder / "text_features.npy").exists() else None
    rows: NDArray[np.int64] = array("caption_text.npy").astype(np.int64)
    return Embeddings(array("text.npy"), rows, vision, tower)
