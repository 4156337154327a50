"""Keys, paths and names that mean harm: nothing is written outside of where the stage writes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mmts.captions import build
from mmts.config import load
from mmts.errors import InputError
from mmts.media import parts
from mmts.settings.sources import Captions
from mmts.shards import ShardReader
from mmts.sources.ek100 import find_videos
from tests import making
from tests.conftest import CELL, Project
from tests.making import picture, write_picture, write_table
from tests.sources.making_img2dataset import write_tar

TINY = ("--dataset", "tiny")
EVIL = (
    "../../../evil", "/tmp/evil", "a.b.c", ".hidden", "..", ".", "a/b", "a\\b", "..\\evil",
    "x" * 300, "new\nline", "nul\0", "tab\t", "Case", "case", "caf\u00e9", "cafe\u0301", "CON",
    "nul.jpg", "-rf", "--help", "$HOME", "'; touch evil", "$(touch evil)", "{}", "%s", "a::b", "~",
    "http://example.com/x", "\x1b[2J", "\u202egnp", "💥", " ", "#", "?x=1",
)  # fmt: skip


def everything(above: Path, but: Path) -> dict[str, bytes]:
    """What is in a folder, links not followed, except in one folder below."""
    found = {}
    for folder, names, files in os.walk(above):
        names[:] = [name for name in names if Path(folder, name) != but]
        for name in (*names, *files):
            path = Path(folder, name)
            whole = path.is_file() and not path.is_symlink()
            found[str(path)] = hashlib.sha256(path.read_bytes()).digest() if whole else b""
    return found


# --- ids, classes and pictures of a table --------------------------------------------------------


def evil_rows(project: Project) -> list[dict[str, str]]:
    """Pictures under evil names, where a disk may have them, with evil ids and classes."""
    raw = project.root / "data/raw/tiny"
    rows = []
    for n, name in enumerate(EVIL * 2):
        image = f"{n // len(EVIL)}/{name.strip('./') or n}.jpg"
        try:
            write_picture(raw / image, n, size=(8, 8))
        except (OSError, ValueError):  # too long, or with a NUL
            image = write_picture(raw / f"{n}.jpg", n, size=(8, 8)).name
        rows.append(
            {"image": image, "caption": f"a ball {name}", "kind": name if name.strip() else "blank",
             "id": f"{name}{n // len(EVIL) or ''}"}
        )  # fmt: skip
    return rows


def test_evil_ids_classes_and_file_names_stay_inside_and_shards_have_keys_of_ours(
    project: Project,
) -> None:
    rows = evil_rows(project)
    (project.root / "data/raw/tiny/evil.jsonl").write_text("\n".join(map(json.dumps, rows)))
    changes = {
        "captions.sources.pairs.path": "evil.jsonl", "captions.sources.pairs.id_column": "id",
        "clusterings.default": {"kind": "column", "column": "kind"}, "train.epochs": 1,
        "towers.text": {"name": "small_transformer", "weights": "random", "frozen": False},
    }  # fmt: skip
    project.set(
        grid={"datasets": ["tiny"], "methods": ["mmts"], "seeds": [0]},
        **{f"datasets__tiny__{key}".replace(".", "__"): value for key, value in changes.items()},
    )
    outputs = {
        ("captions", *TINY): "data/captions/tiny", ("embed", *TINY): "data/embed/tiny",
        ("cluster", *TINY): "data/cluster/tiny", ("pack", *TINY): "data/shards/tiny",
        ("shift", *TINY): "data/shift/tiny", ("train", *CELL, "mmts"): "data/train/tiny/mmts",
        ("evaluate", *CELL, "mmts"): "data/evaluate/tiny/mmts", ("report",): "results",
    }  # fmt: skip
    cache = str(project.root / "data/cache")
    assert project.run("plan").code == 0
    for (stage, *arguments), output in outputs.items():
        before = everything(project.root.parent, project.root / output)
        ran = project.run(stage, *arguments)
        assert (ran.code, ran.err) == (0, ""), ran
        after = everything(project.root.parent, project.root / output)
        new = {name for name in before | after if before.get(name) != after.get(name)}
        above = {str(path) for path in (project.root / output).parents}
        assert {name for name in new - above if not name.startswith(cache)} == set(), stage
    table = pd.read_parquet("data/captions/tiny/captions.parquet")
    assert table["caption_id"].tolist() == [row["id"] for row in rows]
    assert table["class_kind"].tolist() == [row["kind"] for row in rows]
    packed = []
    for path in sorted(Path("data/shards/tiny").glob("*.tar")):
        with tarfile.open(path) as tar:
            keys = [member.name.partition(".")[0] for member in tar]
        assert all(len(key) == 8 and key.isdecimal() for key in keys)
    for split in ("train", "val", "test"):
        reader = ShardReader(Path("data/shards/tiny"), split)
        packed += [name for sample in reader.samples for name in sample["caption_ids"]]
        for number, sample in enumerate(reader.samples):
            named = table[table["sample_id"] == sample["sample_id"]]
            assert reader.image_bytes(number) == Path(named["media"].iloc[0]).read_bytes()
    assert sorted(packed) == sorted(row["id"] for row in rows)


def of_table(raw: Path, images: list[str], root: str | None = None) -> pd.DataFrame:
    """sample_id and media (or the reason) of the pictures of a table."""
    rows = [
        {"image": image, "caption": "x", "split": ("train", "val", "test")[n % 3]}
        for n, image in enumerate(images)
    ]
    (raw / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"kind": "table", "path": "pairs.jsonl", "split_column": "split", "image_root": root}
    settings = {"sources": {"a": source}, "max_bad_share": 0.99}
    return build(Captions.model_validate(settings), raw, raw, raw / "final")  # type: ignore[return-value]


def test_a_table_may_name_pictures_anywhere_and_they_are_only_read(tmp_path: Path) -> None:
    """It is the user's own: absolute, above its folder, through a link."""
    raw, other = tmp_path / "raw", tmp_path / "other"
    for n, name in enumerate(("a.png", "b::c.png", "x.tar.png", "A.png")):
        write_picture(other / name, n)
    write_tar(other / "x.tar", {"in/../../a.png": picture(9), "/abs.png": picture(8)})
    raw.mkdir(), (raw / "link").symlink_to(other)
    names = [
        "../other/a.png", str(other / "b::c.png"), "link/x.tar.png", "link/A.png",
        "link/x.tar::/abs.png", "link/x.tar::none.png", "link/a.png::b.png", "~/a.png", "nul\0.png",
    ]  # fmt: skip
    found = of_table(raw, names)
    assert found.rows["sample_id"].tolist() == names[:5]
    reasons = dict(zip(found.dropped["sample_id"], found.dropped["reason"], strict=True))
    assert reasons == dict.fromkeys(names[5:], "missing")


def test_names_that_differ_in_case_or_in_their_normal_form_are_two(tmp_path: Path) -> None:
    names = ["a.png", "A.png", "caf\u00e9.png", "cafe\u0301.png"]
    for n, name in enumerate(names):
        write_picture(tmp_path / name, n)
    rows = of_table(tmp_path, names).rows
    assert rows["sample_id"].tolist() == names
    there = len({path.name for path in tmp_path.glob("*.png")})
    assert rows["media_sha256"].nunique() == there  # 4, but where a disk takes them for one


def test_a_reference_is_of_a_tar_only_after_its_ending() -> None:
    assert parts("a/x.tar::b/c.jpg") == ("a/x.tar", "b/c.jpg")
    assert parts("x.tar::y.tar::z") == ("x.tar", "y.tar::z")
    for name in ("a::b.jpg", "::b", "x.tar", "x.tar::", "a.png::b.png", ""):
        assert parts(name) == (name, "")


# --- tars and videos of others -------------------------------------------------------------------


def test_evil_keys_in_tars_are_passed_over_and_nothing_is_unpacked(tmp_path: Path) -> None:
    raw = tmp_path / "a/b/raw"
    climbing = {"../../evil.jpg", "/abs.jpg", "x/../../evil.jpg", "C:\\evil.jpg", "a::b.jpg",
                "new\nline.jpg", "..\\evil.jpg", "~/evil.jpg"}  # fmt: skip
    plain = {"a.b.c.jpg", ".hidden.jpg", "a/b.jpg", "x" * 300 + ".jpg", "Case.jpg", "case.jpg",
             "CON.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg", "-rf.jpg", "$(evil).jpg"}  # fmt: skip
    members = {name: picture(0, size=(8, 8)) for name in sorted(climbing | plain)}
    members |= {name[:-4] + ".txt": name.encode() for name in sorted(climbing | plain)}
    write_tar(raw / "out/00000.tar", members)
    before = everything(tmp_path, tmp_path / "none")
    source = {"kind": "cc3m", "train": {"images": "out"}}
    with pytest.warns(UserWarning, match=f"ignored {2 * len(climbing)} members"):
        found = build(Captions.model_validate({"sources": {"a": source}}), raw, raw, raw / "final")
    assert set(found.rows["caption"]) == plain
    assert everything(tmp_path, tmp_path / "none") == before


def test_tars_in_place_are_read_by_what_the_captions_stage_saw(project: Project) -> None:
    """Evil members of the user's own tar: packed from where they are, and not unpacked."""
    names = [
        f"{n}/{name}.jpg" for n in (0, 1) for name in EVIL if name.isascii() and "\0" not in name
    ]
    files = {name: picture(n, size=(8, 8), coded="JPEG") for n, name in enumerate(names)}
    raw = project.root / "data/raw/tiny"
    with tarfile.open(raw / "x.tar", "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    # The path of a table is put in its normal form, so that climbing members are not found.
    rows = [{"image": f"x.tar::{name}", "caption": f"ball {n}", "kind": "ball"}
            for n, name in enumerate(names)]  # fmt: skip
    (raw / "evil.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tiny = "datasets__tiny__"
    project.set(
        **{
            f"{tiny}captions__sources__pairs__path": "evil.jsonl",
            f"{tiny}captions__max_bad_share": 0.5,
            f"{tiny}pack__in_place": True,
        }
    )
    before = everything(project.root.parent, project.root / "data")
    for stage in ("captions", "embed", "cluster", "pack"):
        ran = project.run(stage, *TINY)
        assert (ran.code, ran.err) == (0, ""), ran
    assert everything(project.root.parent, project.root / "data") == before
    seen = 0
    for split in ("train", "val", "test"):
        reader = ShardReader(Path("data/shards/tiny"), split)
        for number, sample in enumerate(reader.samples):
            assert reader.image_bytes(number) == files[sample["sample_id"].partition("::")[2]]
            seen += 1
    assert seen >= len(names) - 16


def test_videos_that_differ_in_case_alone(tmp_path: Path) -> None:
    """Each is found by its own name; another case stands in only where there is no such file."""
    for name in ("P01_01.MP4", "p01_01.mp4", "P01_02.mp4"):
        (tmp_path / name).write_bytes(b"x")
    wanted = [("P01_01", "P01"), ("P01_02", "P01")]
    found = find_videos(tmp_path, wanted, "flat")
    assert [Path(path).name for path in found.values()] == ["P01_01.MP4", "P01_02.mp4"]


# --- names that become folders -------------------------------------------------------------------

STAGES = {
    "captions": (), "embed": (), "cluster": (), "pack": (), "shift": (),
    "train": ("--method", "mmts"), "evaluate": ("--method", "mmts"),
}  # fmt: skip


@pytest.mark.parametrize("stage", list(STAGES))
def test_no_stage_takes_a_name_that_leads_out(project: Project, stage: str) -> None:
    """Even where there is a plan, with a method below it, to which the name leads."""
    evil = f"{project.root}/../evil"
    shutil.copytree("data/plan/tiny", project.root / "../evil")
    shutil.copytree("data/plan/tiny/mmts", evil + "/evil")
    before = everything(project.root.parent, project.root / "none")
    asked = [(stage, "--dataset", evil, *STAGES[stage])]
    if "--method" in STAGES[stage]:
        asked.append((stage, *CELL, evil))
    for what, arguments in zip(("dataset", "method"), asked, strict=False):
        ran = project.run(*arguments)
        assert ran.code == 1 and ran.err.count("\n") == 1
        assert f"there is no plan of {what} {evil}; there are: " in ran.err
    assert everything(project.root.parent, project.root / "none") == before


@pytest.mark.parametrize("name", [n for n in EVIL if n not in ("Case", "case", "CON")])
def test_names_of_datasets_methods_clusterings_and_sources(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    making.write_params(path, making.PARAMS)
    assert list(load(path).datasets) == ["tiny"]
    tiny = making.PARAMS["datasets"]["tiny"]
    for key, section in {
        "datasets": making.PARAMS["datasets"], "methods": making.PARAMS["methods"],
        "clusterings": tiny["clusterings"], "sources": tiny["captions"]["sources"],
    }.items():  # fmt: skip
        tree = making.changed(making.PARAMS, {})
        if key in tree:
            tree[key][name] = next(iter(section.values()))
            tree["grid"][key] = [name]
        elif key == "clusterings":
            tree["datasets"]["tiny"][key][name] = section["default"]
        else:
            tree["datasets"]["tiny"]["captions"][key][name] = section["pairs"]
        making.write_params(path, tree)
        with pytest.raises(InputError, match=r"params\.yaml: ") as caught:
            load(path)
        assert "\n" not in str(caught.value).replace(name, "")


@pytest.mark.parametrize("what", ["datasets", "methods", "clusterings"])
def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path, what: str) -> None:
    """Some disks have one folder for both, and one would overwrite the other.

    Also of those that are not in the grid: the plan has folders of them too.
    """
    tree = making.changed(making.PARAMS, {})
    if what == "clusterings":
        of = tree["datasets"]["tiny"][what]
        of["Kinds"] = of["kinds"]
    else:
        name = tree["grid"][what][0]
        tree[what][name.title()] = tree[what][name]
    path = making.write_params(tmp_path / "params.yaml", tree)
    with pytest.raises(InputError, match=f"{what} .* and .* differ in case alone"):
        load(path)


@pytest.mark.parametrize("name", ["code", "run", "Run"])
def test_names_that_the_plan_has_for_itself_are_refused(tmp_path: Path, name: str) -> None:
    tiny = making.PARAMS["datasets"]["tiny"]
    path = making.write_params(tmp_path / "params.yaml", making.PARAMS, {f"datasets.{name}": tiny})
    with pytest.raises(InputError, match=f"datasets.{name} has the name .*; rename it"):
        load(path)


def test_an_error_shows_no_control_characters_and_no_pages_of_text(project: Project) -> None:
    """What stands in a table does not reach the terminal as it is."""
    raw = project.root / "data/raw/tiny"
    row = {
        "image": "images/000.jpg",
        "caption": "x" * 50_000,
        "kind": "ball",
        "id": "\x1b[2J\u202e",
    }
    write_table(raw / "pairs.csv", [row, row])
    project.set(datasets__tiny__captions__sources__pairs__id_column="id")
    ran = project.run("captions", *TINY)
    assert ran.code == 1 and "stands 2 times" in ran.err
    assert ran.err.strip().isprintable() and len(ran.err) < 1000
    write_table(raw / "pairs.csv", [{**row, "image": "\x1b]0;evil\x07.jpg"}])
    project.set()
    ran = project.run("captions", *TINY)
    assert ran.code == 1 and "\\x1b]0;evil\\x07.jpg; data/raw" in ran.err
    assert ran.err.strip().isprintable()


def test_the_index_has_no_path_of_ours_that_leads_out(project: Project) -> None:
    """Shards are named by split and number, and the index names no other file."""
    index = pq.read_table("data/shards/tiny/index.parquet")
    names = set(index["shard"].to_pylist())
    assert names == {path.name for path in Path("data/shards/tiny").glob("*.tar")}
    assert np.all([name.rpartition("-")[0] in ("train", "val", "test") for name in names])
