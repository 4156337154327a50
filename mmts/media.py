"""Read pictures by reference: a file, or a member of a tar. Videos are only looked for here.

A reference is a path (relative to the working folder, or absolute), or `<tar>::<member>`; of a
video a file, or a folder of its chunks.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mmts.errors import InputError

SEPARATOR = "::"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # none that starts another program
MAX_PIXELS = 80_000_000  # beyond any photograph: a decompression bomb


class MediaFacts(NamedTuple):
    """Size in bytes and hex SHA-256 of one picture file; of a video the size alone."""

    size: int
    sha256: str

    @staticmethod
    def of(data: bytes) -> MediaFacts:
        """The facts of a file's bytes."""
        return MediaFacts(len(data), hashlib.sha256(data).hexdigest())


class MediaReader:
    """Bytes of referenced pictures; a tar is indexed once and read in place."""

    def __init__(self) -> None:
        self._tars: dict[str, dict[str, tuple[int, int]]] = {}

    def read(self, reference: str) -> bytes:
        """The file's bytes; FileNotFoundError where there is no such picture."""
        if not reference:
            raise InputError(
                "a clip without media cannot be read (`videos: null`); name the folder of videos, "
                "or set towers.vision.frozen to false to embed captions alone"
            )
        tar, _, member = reference.partition(SEPARATOR)
        if not member:
            return Path(reference).read_bytes()
        offset, size = self._find(tar, member)
        with open(tar, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def index(self, references: list[str]) -> None:
        """Index the tars of `references` now, before threads read from them."""
        for tar in {r.partition(SEPARATOR)[0] for r in references if SEPARATOR in r}:
            if tar not in self._tars and Path(tar).exists():
                self._tars[tar] = _index_tar(tar)

    def _find(self, tar: str, member: str) -> tuple[int, int]:
        if tar not in self._tars:
            self._tars[tar] = _index_tar(tar)
        try:
            return self._tars[tar][member]
        except KeyError:
            raise FileNotFoundError(f"{tar} has no member {member}") from None


def _index_tar(path: str) -> dict[str, tuple[int, int]]:
    """Offset and size of the regular files of an uncompressed tar, by member name."""
    try:
        with tarfile.open(path, "r:") as tar:
            return {
                m.name: (m.offset_data, m.size)
                for m in tar
                if m.isreg() and not m.name.endswith((".txt", ".json"))  # two of three, in CC3M
            }
    except tarfile.TarError as error:
        raise InputError(
            f"{path} is not an uncompressed tar ({error}); unpack or repack it"
        ) from None


def decode_image(data: bytes) -> Image.Image:
    """The picture as RGB, upright by its EXIF orientation, transparent parts on white.

    Raises:
        InputError: the bytes are no picture, are cut short, or hold an absurd number of pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise InputError(
                f"{image.width} x {image.height} pixels; a picture has {MAX_PIXELS:,} at most"
            )
        image.load()
        return _on_white(_upright(image))
    except UnidentifiedImageError:  # its own words hold an address in memory
        raise InputError("not a picture of a known format") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"too many pixels ({error})") from None
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"not a readable picture ({error})") from None


def _upright(image: Image.Image) -> Image.Image:
    """Turned by its EXIF orientation; as it is where the EXIF block is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever Pillow's EXIF reader raises on broken bytes
        return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode.startswith("I;16"):  # 16-bit grey, which a plain conversion would clip to white
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    return image.convert("RGB")


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The centre square of the picture, [size, size, 3] uint8: short side to `size`, then crop."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box), dtype=np.uint8)


def inspect(
    references: list[str], reader: MediaReader, progress: str = "pictures"
) -> tuple[dict[str, MediaFacts], dict[str, str]]:
    """Read and decode each picture: the facts of the good ones, what is wrong with the others."""
    from tqdm import tqdm

    def look(reference: str) -> MediaFacts | str:
        try:
            data = reader.read(reference)
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return f"unreadable ({error.strerror})"
        try:
            decode_image(data)
        except InputError as error:
            return f"undecodable: {error}"
        return MediaFacts.of(data)

    good: dict[str, MediaFacts] = {}
    bad: dict[str, str] = {}
    reader.index(references)
    bar = tqdm(total=len(references), desc=f"check {progress}", unit="img", mininterval=0.5)
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(references), 4096):  # map() makes all its futures at once
            block = references[start : start + 4096]
            for reference, facts in zip(block, pool.map(look, block), strict=True):
                if isinstance(facts, str):
                    bad[reference] = facts
                else:
                    good[reference] = facts
                bar.update()
    return good, bad


def inspect_videos(references: list[str]) -> tuple[dict[str, MediaFacts], dict[str, str]]:
    """As `inspect`, but without reading: hundreds of GB would take hours to hash.

    A video is a file that is not empty, or a folder of such files; the hash is left empty.
    """
    good: dict[str, MediaFacts] = {}
    bad: dict[str, str] = {}
    for reference in references:
        path = Path(reference)
        try:
            chunks = sorted(path.iterdir()) if path.is_dir() else [path]
            sizes = {chunk.name: chunk.stat().st_size for chunk in chunks}
        except FileNotFoundError:
            bad[reference] = "missing"
            continue
        except OSError as error:
            bad[reference] = f"unreadable ({error.strerror})"
            continue
        empty = [name for name, size in sizes.items() if size == 0]
        if not sizes:
            bad[reference] = "a folder without chunks"
        elif empty:
            bad[reference] = f"empty file {empty[0]}"
        else:
            good[reference] = MediaFacts(sum(sizes.values()), "")
    return good, bad
