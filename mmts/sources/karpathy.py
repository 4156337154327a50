"""COCO and Flickr30K captions in the splits of Karpathy & Li (2015), or the captions alone."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from mmts.errors import InputError
from mmts.files import read_json, require
from mmts.media import SEPARATOR, MediaReader
from mmts.sources import SourceRows
from mmts.sources.names import check_inside, check_once, is_whole, shown
from mmts.sources.table import first_per_split

if TYPE_CHECKING:
    from mmts.kinds.source._karpathy import Karpathy

SPLIT_OF = {"train": "train", "restval": "train", "val": "val", "test": "test"}
LINES = 5  # captions an image in the text files
ZIP = "cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"


class Image(NamedTuple):
    """One image with its captions: where it stands in the file, id, relative path."""

    place: int
    name: str
    path: str
    split: str
    captions: list[str]


def read(settings: Karpathy, raw: Path) -> SourceRows:
    """A row a caption of the images of the splits that the settings name."""
    path = require(raw / settings.captions, f"take it from {ZIP}, or name another file of captions")
    found = [image for image in read_images(path, settings) if image.split in settings.splits]
    for split in settings.splits:
        if not any(image.split == split for image in found):
            raise InputError(f"{path} has no images of split {split}; change splits")
    media = {image.path: "" for image in found}
    if settings.images is not None:
        folder = require(raw / settings.images, "put the images there, or set images: null")
        media = find_images(folder, found)
    table = pd.DataFrame(
        [
            (f"{settings.kind}/{image.name}", caption, media[image.path], image.split, image.place)
            for image in found
            for caption in image.captions
        ],
        columns=["sample_id", "caption", "media", "split", "place"],
    )
    rows = table.set_index("place").rename_axis(None)
    without = Counter(image.split for image in found if not image.captions)
    return SourceRows(
        first_per_split(rows, settings.limit),
        settings.credit,
        publishable=False,
        media="none" if settings.images is None else "pictures",
        may_lack=tuple(split for split in SPLIT_OF.values() if split not in settings.splits),
        min_coverage=settings.min_coverage,
        uncaptioned=dict(without),
    )


def read_images(path: Path, settings: Karpathy) -> list[Image]:
    """The images of a file in its order, checked.

    Raises:
        InputError: the file is of none of the three forms, or an image stands twice or outside of
            the folder of images.
    """
    if path.suffix == ".txt":
        return list(_of_lines(path, _one_split(path, settings)))
    value = read_json(path, f"take it from {ZIP}", ours=False)
    if isinstance(value, dict) and "annotations" in value:
        found, what = list(_of_coco(path, value, _one_split(path, settings))), "images[] number"
    else:
        found, what = list(_of_karpathy(path, value, settings)), "images[] number"
    places = [image.place for image in found]
    for image in found:
        check_text(image, path)
    names = pd.Series([image.path for image in found], index=places, dtype="str")
    check_inside(names, path, what)
    check_once(names, path, what)
    check_once(pd.Series([image.name for image in found], index=places, dtype="str"), path, what)
    return found


def check_text(image: Image, path: Path) -> None:
    """InputError where a name or a caption is no text, or holds half a character."""
    for text in (image.name, image.path, *image.captions):
        if not isinstance(text, str) or not is_whole(text):
            raise InputError(
                f"{path} images[] number {image.place}: {shown(text)} is no text; mend it, or take "
                "the file anew"
            )


def _one_split(path: Path, settings: Karpathy) -> str:
    if len(settings.splits) != 1:
        raise InputError(
            f"{path} says nothing about splits; set splits to the one that it is, such as [test]"
        )
    return settings.splits[0]


def _of_lines(path: Path, split: str) -> Iterator[Image]:
    """Five consecutive lines an image; a blank one would shift all that follow."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise InputError(f"{path} line {number} is blank; an image has {LINES} lines: mend it")
    if len(lines) % LINES:
        raise InputError(
            f"{path} has {len(lines):,} lines, which is no multiple of {LINES}; an image has "
            f"{LINES} consecutive lines"
        )
    for first in range(0, len(lines), LINES):
        name = f"{path.stem}/{first // LINES:06d}"
        yield Image(first + 1, name, name, split, lines[first : first + LINES])


def _of_karpathy(path: Path, value: Any, settings: Karpathy) -> Iterator[Image]:
    """dataset_coco.json, dataset_flickr30k.json: images[] with filename, split, sentences[].raw."""
    numbered, kind = settings.numbered, settings.kind
    images = value.get("images") if isinstance(value, dict) else None
    if not isinstance(images, list) or not images:
        raise InputError(f"{path} has no images; take dataset_{kind}.json from {ZIP}")
    other = value.get("dataset", kind)
    if other != kind:
        raise InputError(f"{path} is of dataset {other!r}; take dataset_{kind}.json from {ZIP}")
    counts: dict[str, int] = {}
    for number, image in enumerate(images):
        try:
            file, captions = image["filename"], [s["raw"] for s in image["sentences"]]
            folder, split = image.get("filepath", ""), SPLIT_OF.get(image["split"])
            texts = all(isinstance(text, str) for text in (file, folder, *captions))
            name = file if numbered is None else image[numbered]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _not_karpathy(path, number, f"{type(error).__name__} {error}", kind) from None
        if not texts or split is None:
            problem = f"split {image['split']!r}" if split is None else "a name that is no text"
            raise _not_karpathy(path, number, problem, kind)
        counts[split] = counts.get(split, 0) + 1
        if numbered is not None:
            name = _name(name, f"{path} images[] number {number}: {numbered}")
        yield Image(number, name, f"{folder}/{file}" if folder else file, split, captions)
    if counts != settings.listed:
        warnings.warn(
            f"{path} has {_listed(counts)} images, Karpathy's file {_listed(settings.listed)}; "
            "results are not comparable with published ones",
            stacklevel=1,
        )


def _listed(counts: Mapping[str, int]) -> str:
    return " / ".join(f"{counts.get(split, 0):,}" for split in ("train", "val", "test"))


def _not_karpathy(path: Path, number: int, problem: str, kind: str) -> InputError:
    return InputError(
        f"{path} is not Karpathy's: images[] number {number} has no filename, split and "
        f"sentences[].raw as it should ({problem}); take dataset_{kind}.json from {ZIP}"
    )


def _of_coco(path: Path, value: dict[str, Any], split: str) -> Iterator[Image]:
    """captions_val2017.json and its like: images[] and annotations[]."""
    try:
        listed = [(image["id"], image["file_name"]) for image in value["images"]]
        said = [(one["image_id"], one["caption"]) for one in value["annotations"]]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not one of COCO's captions_*.json ({type(error).__name__} {error}); "
            "take it from annotations_trainval2017.zip of cocodataset.org"
        ) from None
    captions: dict[str, list[str]] = {}
    for place, (number, _) in enumerate(listed):
        name = _name(number, f"{path} images[] number {place}: id")
        if name in captions:
            raise InputError(
                f"{path} images[] number {place}: id {shown(number)} stands twice; keep one"
            )
        captions[name] = []
    for place, (number, caption) in enumerate(said):
        name = _name(number, f"{path} annotations[] number {place}: image_id")
        if name not in captions:
            raise InputError(
                f"{path} annotations[] number {place}: image_id {shown(number)} is no id of "
                "images[]; mend it, or take the file anew"
            )
        captions[name].append(caption)
    folder = path.stem.removeprefix("captions_")
    for place, ((_, file), name) in enumerate(zip(listed, captions, strict=True)):
        inside = isinstance(file, str) and "/" not in file
        yield Image(place, name, f"{folder}/{file}" if inside else file, split, captions[name])


def _name(number: object, where: str) -> str:
    """Return what an image is called by its id: a whole number, or text."""
    if isinstance(number, str) and number.strip():
        return f"{int(number):012d}" if number.isascii() and number.isdigit() else number
    if isinstance(number, int) and not isinstance(number, bool):
        return f"{number:012d}"
    raise InputError(f"{where} is {shown(number)}; it must be a whole number or text")


def find_images(folder: Path, images: list[Image]) -> dict[str, str]:
    """Where each image lies, by its path in the file.

    As the file says (val2014/COCO_val2014_000000391895.jpg); in the folder or tar itself; or, of
    COCO, by its number in train2017 or val2017.
    """
    if folder.is_dir():
        start, there = f"{folder}/", None
    elif folder.suffix == ".tar":
        start, there = f"{folder}{SEPARATOR}", MediaReader().members(folder)
    else:
        raise InputError(f"{folder} is neither a folder nor a .tar; unpack it, or repack it")
    found = {}
    for image in images:
        file = image.path.rpartition("/")[2]
        of_2017 = [f"{year}2017/{image.name}.jpg" for year in ("train", "val")]
        tried = (image.path, file, *of_2017)
        known = [
            name
            for name in tried
            if (Path(start + name).is_file() if there is None else name in there)
        ]
        flat = there is None and not (folder / image.path).parent.is_dir()
        found[image.path] = start + (known[0] if known else file if flat else image.path)
    return found
