"""Pictures of one object whose captions say what is in them, in the official forms of datasets."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from tests.making import COLOURS, SHAPES
from tests.sources.making_img2dataset import write_tar

Thing = tuple[str, str, str]  # colour and shape of the object, colour of what is behind it
PIXELS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 70, 230), "white": (240,) * 3}
THINGS: list[Thing] = [
    (colour, shape, ground)
    for colour, shape, ground in itertools.product(COLOURS, SHAPES, COLOURS)
    if colour != ground
]
SHARES = np.array([(8 >> COLOURS.index(c)) * (4 >> SHAPES.index(s)) for c, s, _ in THINGS])
SIDE = 40


def drawn(count: int, rng: np.random.Generator) -> list[Thing]:
    """A long tail: red balls are the most, white cones the fewest."""
    return [THINGS[n] for n in rng.choice(len(THINGS), count, p=SHARES / SHARES.sum())]


def photograph(thing: Thing, rng: np.random.Generator) -> bytes:
    """A JPEG of the thing somewhere in the picture."""
    colour, shape, ground = thing
    image = Image.new("RGB", (SIDE, SIDE), PIXELS[ground])
    pen, size = ImageDraw.Draw(image), 20
    x, y = (int(n) for n in rng.integers(4, SIDE - size - 3, 2))
    box = (x, y, x + size, y + size)
    if shape == "ball":
        pen.ellipse(box, PIXELS[colour])
    elif shape == "box":
        pen.rectangle(box, PIXELS[colour])
    else:
        pen.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], PIXELS[colour])
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def captions(thing: Thing) -> list[str]:
    """Five, as each picture of COCO and Flickr30K has."""
    colour, shape, ground = thing
    forms = ("a {} {} a {}", "one {} {} one {}", "{} {} one {}", "a {} {} one {}", "{} {} a {}")
    return [form.format(colour, shape, ground) for form in forms]


def write_cc3m(raw: Path, train: int, val: int, rng: np.random.Generator) -> None:
    """Both TSVs, and img2dataset's tars and records; every tenth url is dead."""
    names = {"train": "Train_GCC-training.tsv", "val": "Validation_GCC-1.1.0-Validation.tsv"}
    for split, count in (("train", train), ("val", val)):
        things = drawn(count, rng)
        rows = pd.DataFrame({"caption": [captions(thing)[n % 5] for n, thing in enumerate(things)]})
        rows["url"] = [f"http://x/{split}/{n}.jpg" for n in range(count)]
        rows.to_csv(raw / names[split], sep="\t", index=False)
        rows["key"] = [f"{n:09d}" for n in range(count)]
        rows["status"] = ["success" if n % 10 else "failed_to_download" for n in range(count)]
        members = {
            f"{key}.jpg": photograph(thing, rng)
            for key, thing, status in zip(rows["key"], things, rows["status"], strict=True)
            if status == "success"
        }
        write_tar(raw / "images" / split / "00000.tar", members)
        rows.to_parquet(raw / "images" / split / "00000.parquet")


def write_karpathy(raw: Path, name: str, folder: str, things: list[Thing], seed: int) -> None:
    """Karpathy's JSON with a picture of each thing in the split test, and its photographs."""
    rng, images = np.random.default_rng(seed), []
    (raw / folder).mkdir(parents=True)
    for number, thing in enumerate(things):
        file = f"COCO_val2014_{number:012d}.jpg" if name == "coco" else f"{number}.jpg"
        (raw / folder / file).write_bytes(photograph(thing, rng))
        sentences = [{"raw": caption} for caption in captions(thing)]
        image = {"filename": file, "split": "test", "sentences": sentences}
        images.append(image | ({"filepath": "val2014", "cocoid": number} if name == "coco" else {}))
    (raw / f"dataset_{name}.json").write_text(json.dumps({"images": images, "dataset": name}))


def write_flickr8k(raw: Path, train: int, rng: np.random.Generator) -> None:
    """captions.txt, Images/ and the three lists; every thing is once in dev and once in test."""
    splits = {"train": drawn(train, rng), "dev": THINGS, "test": THINGS}
    lines = ["image,caption"]
    (raw / "Images").mkdir(parents=True)
    for split, things in splits.items():
        files = [f"{split}{number}.jpg" for number in range(len(things))]
        for file, thing in zip(files, things, strict=True):
            (raw / "Images" / file).write_bytes(photograph(thing, rng))
            lines += [f"{file},{caption}" for caption in captions(thing)]
        (raw / f"Flickr_8k.{split}Images.txt").write_text("\n".join(files) + "\n")
    (raw / "captions.txt").write_text("\n".join(lines) + "\n")
