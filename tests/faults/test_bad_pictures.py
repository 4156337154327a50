"""Pictures that are damaged, missing or odd: dropped with a reason, counted, told of; or named."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmts.captions import build
from mmts.errors import InputError
from mmts.media import MediaReader, inspect
from mmts.settings.sources import Captions
from mmts.tars import READ
from tests.conftest import CELL, Project, Ran
from tests.making import SHAPES, picture, tiny_pairs, write_raw, write_table
from tests.sources.making_img2dataset import listed, write_output

COUNT, BAD, MISSING = 2000, 20, 20
TINY = ("--dataset", "tiny")
BASE = (*CELL, "base")


def coded(number: int, form: str, mode: str = "RGB", **options: object) -> bytes:
    """A small picture of noise in any mode that Pillow has."""
    noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image, data = Image.fromarray(noise), io.BytesIO()
    made = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 999)
    (made if mode == "I;16" else image.convert(mode)).save(data, form, **options)
    return data.getvalue()


def frames(form: str) -> bytes:
    """Two frames."""
    other = Image.new("RGB", (8, 8), "red")
    return coded(1, form, save_all=True, append_images=[other], **{"lossless": True})


def changed(data: bytes, at: int) -> bytes:
    """One byte is another one."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def _endless(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(READ + 1)  # a hole: it takes no room


def written(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


JPEG, PNG = coded(0, "JPEG"), coded(0, "PNG")
INSIDE = PNG.index(b"IDAT") + 4
UNDECODABLE = "undecodable: "
DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (written(b""), UNDECODABLE + "not a picture of a known format"),
    "text": (written(b"<html>404</html>"), UNDECODABLE + "not a picture of a known format"),
    "half-header": (written(JPEG[:10]), UNDECODABLE),
    "half-jpeg": (written(JPEG[: len(JPEG) * 3 // 4]), UNDECODABLE),
    "half-png": (written(PNG[: len(PNG) // 2]), UNDECODABLE),
    "no-end": (written(PNG[: INSIDE + 9]), UNDECODABLE),
    "flipped": (written(changed(PNG, INSIDE)), UNDECODABLE),
    "half-webp": (written(coded(0, "WEBP")[:60]), UNDECODABLE),
    "half-gif": (written(coded(0, "GIF")[:-60]), UNDECODABLE),
    "vector": (written(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), UNDECODABLE),
    "program": (written(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"), UNDECODABLE),
    "folder": (lambda path: path.mkdir(), "unreadable (Is a directory)"),
    "pipe": (os.mkfifo, "unreadable (Not a regular file)"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "unreadable (Not a regular file)"),
    "nowhere": (lambda path: path.symlink_to("nowhere"), "missing"),
    "itself": (lambda path: path.symlink_to(path.name), "unreadable (Too many levels"),
    "endless": (lambda path: _endless(path), "unreadable (Too large for a picture)"),
}  # fmt: skip
SOUND: dict[str, bytes] = {
    "jpeg-named-png": JPEG, "grey": coded(1, "JPEG", "L"), "cmyk": coded(1, "JPEG", "CMYK"),
    "16-bit": coded(1, "PNG", "I;16"), "palette": coded(1, "PNG", "P"),
    "1-bit": coded(1, "PNG", "1"), "alpha": coded(1, "PNG", "RGBA"), "tiff": coded(1, "TIFF"),
    "bmp": coded(1, "BMP"), "webp": coded(1, "WEBP"),
    "progressive": coded(1, "JPEG", progressive=True),
    "pixel": picture(1, size=(1, 1)), "line": picture(1, size=(300, 1)),
    "moving": frames("GIF"), "moving-webp": frames("WEBP"), "second-frame-cut": frames("GIF")[:-8],
    "more-after-the-end": JPEG + b"<script>" * 99,
}  # fmt: skip


def test_what_is_no_picture_has_a_reason_and_what_pillow_reads_is_one(tmp_path: Path) -> None:
    for name, (make, _) in DAMAGED.items():
        make(tmp_path / f"{name}.png")
    for name, data in SOUND.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    names = [*DAMAGED, *SOUND, "absent", "nul\0", "half\udc80", "x" * 300]
    good, bad = inspect([f"{tmp_path}/{name}.png" for name in names], MediaReader())
    assert [Path(reference).stem for reference in good] == list(SOUND)
    reasons = {Path(reference).stem: reason for reference, reason in bad.items()}
    for name, (_, reason) in DAMAGED.items():
        assert reasons.pop(name).startswith(reason), name
    assert reasons.pop("x" * 300) == "unreadable (File name too long)"
    assert reasons == {"absent": "missing", "nul\0": "missing", "half\udc80": "missing"}


# --- 2,000 pictures, of which 20 are damaged and 20 missing --------------------------------------


def write_many(project: Project, max_bad_share: float) -> tuple[set[str], set[str]]:
    """The dataset and its settings; the names of its damaged and of its missing pictures."""
    raw = project.root / "data/raw/tiny"
    names = [f"many/{n:04d}.{'png' if n % 2 else 'jpg'}" for n in range(COUNT)]
    (raw / "many").mkdir()
    chosen = np.random.default_rng(0).permutation(COUNT)
    damaged, missing = chosen[:BAD].tolist(), chosen[BAD : BAD + MISSING].tolist()
    ways = [make for make, reason in DAMAGED.values() if reason != "missing"]
    for n, name in enumerate(names):
        if n in damaged:
            ways[damaged.index(n) % len(ways)](raw / name)
        elif n not in missing:
            (raw / name).write_bytes(coded(n, "PNG" if n % 2 else "JPEG"))
    rows = [
        {"image": name, "caption": f"a {SHAPES[n % 3]} {n % 40}", "kind": SHAPES[n % 3]}
        for n, name in enumerate(names)
    ]
    rows[damaged[0]]["caption"] = ""  # dropped before its picture is looked at
    write_table(raw / "many.csv", rows)
    tiny = "datasets__tiny__"
    changes = {
        "captions__sources__pairs__path": "many.csv", "captions__max_bad_share": max_bad_share,
        "pack__shard_size": 500, "train__batch_size": 256, "train__epochs": 1,
        "train__log_every": 9,
    }  # fmt: skip
    project.set(
        grid={"datasets": ["tiny"], "methods": ["base"], "seeds": [0]},
        **{tiny + key: value for key, value in changes.items()},
    )
    return {names[n] for n in damaged}, {names[n] for n in missing}


def sound(ran: Ran) -> str:
    assert (ran.code, ran.err) == (0, ""), ran
    return ran.out


def test_a_run_below_the_share_lists_every_one_and_the_report_counts_them(project: Project) -> None:
    damaged, missing = write_many(project, (BAD + MISSING) / COUNT)
    said = sound(project.run("captions", *TINY))
    folder = project.root / "data/captions/tiny"
    dropped = pd.read_parquet(folder / "dropped.parquet")
    assert set(dropped["sample_id"]) == damaged | missing and len(dropped) == BAD + MISSING
    kinds = {
        name: re.split(r"[:(]", reason)[0].strip()
        for name, reason in zip(dropped["sample_id"], dropped["reason"], strict=True)
    }
    assert {name for name, kind in kinds.items() if kind == "missing"} == missing
    told = {k: int(n) for n, k in re.findall(r"dropped: (\d+) rows, (.*) \(listed in", said)}
    assert told == dropped["reason"].value_counts().to_dict()
    assert told == json.loads((folder / "summary.json").read_text())["dropped"]

    for stage in ("embed", "cluster", "pack", "shift"):
        sound(project.run(stage, *TINY))
    for stage in ("train", "evaluate"):
        sound(project.run(stage, *BASE))
    sound(project.run("report"))
    manifest = json.loads((project.root / "data/shards/tiny/manifest.json").read_text())
    assert sum(manifest["samples"].values()) == COUNT - BAD - MISSING
    kinds_of = Counter(kinds.values())
    line = (
        "40 of 2,000 rows of the sources were left out ("
        + "; ".join(f"{kind}: {kinds_of[kind]}" for kind in sorted(kinds_of))
        + ")."
    )
    for page in ("tiny.md", "index.html"):
        assert line in (project.root / "results" / page).read_text(), page


def test_above_the_share_the_stage_fails_with_the_count_and_the_key(project: Project) -> None:
    write_many(project, (BAD + MISSING - 1) / COUNT)
    before = (project.root / "data/captions/tiny/captions.parquet").read_bytes()
    ran = project.run("captions", *TINY)
    assert ran.code == 1 and ran.err.count("\n") == 1
    assert "source pairs: 39 of 1999 pictures are bad, above max_bad_share 0.0195; the" in ran.err
    assert "mend them or raise captions.max_bad_share" in ran.err
    assert (project.root / "data/captions/tiny/captions.parquet").read_bytes() == before


def test_a_page_of_a_dataset_that_lost_nothing_says_nothing(project: Project) -> None:
    from mmts.reporting.load import load_dataset
    from mmts.reporting.words import notes

    whole = load_dataset(Path("data"), "tiny", methods=["base"], seeds=[0])
    assert whole.unused == {} and not any("left out" in note for note in notes(whole, 100))


# --- other sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("tars", [True, False])
def test_of_img2dataset_the_damaged_count_and_the_missing_are_covered(
    tmp_path: Path, tars: bool
) -> None:
    folder = write_output(tmp_path / "out", listed(40, dead=(3, 4)), tars=tars, records=False)
    whole = picture(9, coded="JPEG")
    for path in [*folder.glob("*.tar"), *folder.glob("*/000000009.jpg")]:
        path.write_bytes(path.read_bytes().replace(whole, whole[:300] + bytes(len(whole) - 300)))
    part = {"images": "out"}

    def settings(share: float) -> Captions:
        source = {"kind": "cc3m", "train": part, "min_coverage": 0.5}
        return Captions.model_validate({"sources": {"cc3m": source}, "max_bad_share": share})

    with pytest.raises(InputError, match="source cc3m: 1 of 38 pictures are bad, above max_bad_sh"):
        build(settings(0), tmp_path, tmp_path, Path("final"))
    found = build(settings(1 / 38), tmp_path, tmp_path, Path("final"))
    assert found.dropped["sample_id"].tolist() == ["cc3m/train/000000009"]
    assert len(found.rows) == 37


# --- what was sound in the captions stage --------------------------------------------------------


@pytest.mark.parametrize("stage", ["embed", "pack"])
@pytest.mark.parametrize("fault", ["damaged", "gone"])
def test_a_picture_that_is_damaged_later_is_named(project: Project, stage: str, fault: str) -> None:
    path = Path("data/raw/tiny/images/007.png")
    path.unlink()
    if fault == "damaged":
        path.write_bytes(picture(7)[:300])
    shutil.rmtree("data/cache")  # embed reads the pictures whose features it does not have
    ran = project.run(stage, *TINY)
    assert ran.code == 1 and ran.err.count("\n") == 1 and str(path) in ran.err
    if fault == "damaged":
        assert "run `dvc repro -sf captions`" in ran.err


def test_pictures_that_lie_where_the_stage_writes_are_the_users(tmp_path: Path) -> None:
    """The output's name inside a path is not taken for the output."""
    final = Path("data/captions/x")
    raw = tmp_path / final / "raw"
    write_raw(raw, 8)
    split = {"train": 0.5, "val": 0.25, "test": 0.25}
    source = {"kind": "table", "path": "pairs.csv", "split": split}
    found = build(Captions.model_validate({"sources": {"a": source}}), raw, tmp_path, final)
    assert len(found.rows) == len(tiny_pairs(8)) and found.dropped.empty
