import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mmts.errors import InputError
from mmts.kinds.source.coco import Kind as CocoSource
from mmts.kinds.source.flickr30k import Kind as Flickr30kSource
from mmts.sources import SourceRows, karpathy
from tests.sources.making_img2dataset import write_tar

SETTINGS: TypeAdapter[CocoSource | Flickr30kSource] = TypeAdapter(CocoSource | Flickr30kSource)
SPLITS = ("train", "restval", "val", "test", "test")


def read(raw: Path, kind: str = "coco", **settings: Any) -> SourceRows:
    chosen = SETTINGS.validate_python({"kind": kind, **settings})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Karpathy's file")
        return karpathy.read(chosen, raw)


def refusal(raw: Path, kind: str = "coco", **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(raw, kind, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def coco_images() -> list[dict[str, Any]]:
    return [
        {
            "filepath": "train2014" if split == "train" else "val2014",
            "filename": f"COCO_{'train' if split == 'train' else 'val'}2014_{n:012d}.jpg",
            "cocoid": n, "split": split, "imgid": n,
            "sentences": [{"raw": f"{n} {k} .", "tokens": []} for k in range(5 + n % 2)],
        }
        for n, split in enumerate(SPLITS)
    ]  # fmt: skip


def write_coco(raw: Path, images: Any = None, dataset: str = "coco") -> Path:
    path = raw / "dataset_coco.json"
    value = {"images": coco_images() if images is None else images, "dataset": dataset}
    path.write_text(json.dumps(value))
    for folder in ("train2014", "val2014"):
        (raw / "images" / folder).mkdir(parents=True, exist_ok=True)
    return path


def write_flickr(raw: Path) -> None:
    images = [
        {"filename": f"{n}.jpg", "split": split, "sentences": [{"raw": f"{n} a"}, {"raw": "b"}]}
        for n, split in enumerate(("train", "val", "test"))
    ]
    (raw / "dataset_flickr30k.json").write_text(json.dumps({"images": images}))
    (raw / "flickr30k-images").mkdir()


def test_karpathys_coco(tmp_path: Path) -> None:
    write_coco(tmp_path)
    found = read(tmp_path)
    of = found.rows.drop_duplicates("sample_id").set_index("sample_id")
    assert of["split"].to_dict() == {
        "coco/000000000000": "train", "coco/000000000001": "train", "coco/000000000002": "val",
        "coco/000000000003": "test", "coco/000000000004": "test",
    }  # fmt: skip
    name = "val2014/COCO_val2014_000000000001.jpg"
    assert of.loc["coco/000000000001", "media"] == f"{tmp_path}/images/{name}"
    assert len(found.rows) == 5 + 6 + 5 + 6 + 5  # all captions, not the first five
    assert found.rows["caption"].tolist()[:2] == ["0 0 .", "0 1 ."]
    assert (found.media, found.may_lack, found.min_coverage) == ("pictures", (), 1.0)
    assert not found.publishable and "COCO" in found.credit


def test_a_source_may_give_test_rows_only(tmp_path: Path) -> None:
    write_coco(tmp_path)
    found = read(tmp_path, splits=["test"])
    assert set(found.rows["split"]) == {"test"} and found.rows["sample_id"].nunique() == 2
    assert sorted(found.may_lack) == ["train", "train", "val"]
    assert read(tmp_path, splits=["test"], limit=1).rows["sample_id"].nunique() == 1


def test_karpathys_flickr30k(tmp_path: Path) -> None:
    write_flickr(tmp_path)
    found = read(tmp_path, "flickr30k")
    assert found.rows["sample_id"].tolist() == [f"flickr30k/{n}.jpg" for n in (0, 0, 1, 1, 2, 2)]
    assert found.rows["media"].iloc[-1] == f"{tmp_path}/flickr30k-images/2.jpg"
    assert found.rows["split"].tolist() == ["train"] * 2 + ["val"] * 2 + ["test"] * 2


def test_another_number_of_images_is_a_warning(tmp_path: Path) -> None:
    write_coco(tmp_path)
    with pytest.warns(UserWarning, match=r"has 2 / 1 / 2 images, .* 113,287 / 5,000 / 5,000"):
        karpathy.read(CocoSource(kind="coco"), tmp_path)


def test_the_images_of_2017(tmp_path: Path) -> None:
    write_coco(tmp_path)
    for n in range(5):
        folder = tmp_path / "of2017" / ("val2017" if n == 3 else "train2017")
        folder.mkdir(parents=True, exist_ok=True)
        if n != 4:
            (folder / f"{n:012d}.jpg").touch()
    media = list(dict.fromkeys(read(tmp_path, images="of2017").rows["media"]))
    assert media[2:4] == [
        f"{tmp_path}/of2017/train2017/000000000002.jpg",
        f"{tmp_path}/of2017/val2017/000000000003.jpg",
    ]
    assert media[4] == f"{tmp_path}/of2017/COCO_val2014_000000000004.jpg"  # and so it is missing


def test_all_images_in_one_folder(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "flat").mkdir()
    media = read(tmp_path, images="flat").rows["media"]
    assert media.iloc[0] == f"{tmp_path}/flat/COCO_train2014_000000000000.jpg"


def test_cocos_own_file(tmp_path: Path) -> None:
    value = {
        "images": [{"id": 7, "file_name": "000000000007.jpg"}, {"id": 3, "file_name": "3.jpg"}],
        "annotations": [
            {"image_id": 3, "id": 1, "caption": "three"},
            {"image_id": 7, "id": 2, "caption": "seven"},
            {"image_id": 3, "id": 3, "caption": "3"},
        ],
    }
    path = tmp_path / "captions_val2017.json"
    path.write_text(json.dumps(value))
    (tmp_path / "images/val2017").mkdir(parents=True)
    settings = {"captions": path.name, "splits": ["test"]}
    found = read(tmp_path, **settings).rows
    assert found["caption"].tolist() == ["seven", "three", "3"]
    assert found["sample_id"].tolist() == ["coco/000000000007"] + ["coco/000000000003"] * 2
    assert found["media"].iloc[0] == f"{tmp_path}/images/val2017/000000000007.jpg"
    found = read(tmp_path, **settings, images=None)
    assert found.media == "none" and set(found.rows["media"]) == {""}
    assert "says nothing about splits; set splits" in refusal(tmp_path, captions=path.name)
    value["annotations"].append({"image_id": 99, "id": 4, "caption": "nobody's"})
    path.write_text(json.dumps(value))
    assert "annotations[] number 3: image_id 99 is no id of images[]" in refusal(
        tmp_path, **settings
    )


def test_five_lines_an_image(tmp_path: Path) -> None:
    path = tmp_path / "five.txt"
    settings = {"captions": "five.txt", "images": None, "splits": ["val"]}
    path.write_text("\n".join(f"line {n} ." for n in range(10)))
    found = read(tmp_path, "flickr30k", **settings)
    assert found.rows["sample_id"].tolist() == (
        ["flickr30k/five/000000"] * 5 + ["flickr30k/five/000001"] * 5
    )
    assert found.rows["caption"].tolist() == [f"line {n} ." for n in range(10)]
    assert (found.media, sorted(set(found.may_lack))) == ("none", ["test", "train"])
    path.write_text("a\n" * 10)
    assert len(read(tmp_path, "flickr30k", **settings).rows) == 10
    path.write_text("a\n" * 9)
    assert "has 9 lines, which is no multiple of 5" in refusal(tmp_path, "flickr30k", **settings)
    path.write_text("a\n" * 3 + "\n" + "a\n" * 6)
    assert "five.txt line 4 is blank" in refusal(tmp_path, "flickr30k", **settings)
    path.write_bytes(b"caf\xe9\n" * 5)
    assert "is not UTF-8 (byte 3)" in refusal(tmp_path, "flickr30k", **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filename": "../../evil.jpg"}, "number 1: the image 'val2014/../../evil.jpg' lies out"),
        ({"filepath": "/etc"}, "number 1: the image '/etc/COCO_val2014_000000000001.jpg' lies out"),
        ({"filepath": "..", "filename": "a.jpg"}, "the image '../a.jpg' lies outside"),
        ({"cocoid": 0}, "number 1: the image '000000000000' stands in images[] number 0 too"),
        ({"split": "holdout"}, "number 1 has no filename, split and sentences[].raw"),
        ({"sentences": [{"tokens": []}]}, "is not Karpathy's: images[] number 1"),
        ({"sentences": [{"raw": None}]}, "a name that is no text"),
        ({"filename": 3}, "a name that is no text"),
        ({"cocoid": 1.5}, "images[] number 1: cocoid is 1.5; it must be a whole number or text"),
        ({"split": ["a"]}, "is not Karpathy's: images[] number 1"),
    ],
)  # fmt: skip
def test_bad_images(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    images = coco_images()
    images[1] |= change
    write_coco(tmp_path, images)
    found = refusal(tmp_path)
    assert found.startswith(f"{tmp_path}/dataset_coco.json") and message in found


@pytest.mark.parametrize("value", ["[]", "{}", '{"images": 3}', '{"images": []}', "3"])
def test_json_that_is_something_else(tmp_path: Path, value: str) -> None:
    write_coco(tmp_path).write_text(value)
    assert "has no images; take dataset_coco.json from cs.stanford" in refusal(tmp_path)


def test_files(tmp_path: Path) -> None:
    assert "dataset_coco.json is not there; take it from cs.stanford" in refusal(tmp_path)
    write_coco(tmp_path).write_text("{")
    assert "is not JSON" in refusal(tmp_path)
    write_coco(tmp_path, dataset="flickr30k")
    assert "is of dataset 'flickr30k'" in refusal(tmp_path)
    write_coco(tmp_path, coco_images()[:2])
    assert "has no images of split val; change splits" in refusal(tmp_path)
    assert "nowhere is not there; put the images" in refusal(
        tmp_path, images="nowhere", splits=["train"]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": []}, "splits"),
        ({"splits": ["test", "test"]}, "names one twice"),
        ({"splits": ["restval"]}, "splits"),
        ({"captions": "a.txt"}, "does not name its images; set images: null"),
        ({"min_coverage": 1.1}, "min_coverage"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SETTINGS.validate_python({"kind": "coco", **settings})
    assert message in str(caught.value)


def write_own(
    raw: Path, images: list[dict[str, Any]], said: list[tuple[Any, str]]
) -> dict[str, Any]:
    """One of COCO's own files, and the settings that name it."""
    annotations = [{"image_id": number, "caption": caption} for number, caption in said]
    value = {"images": images, "annotations": annotations}
    (raw / "captions_val2014.json").write_text(json.dumps(value))
    return {"captions": "captions_val2014.json", "splits": ["test"]}


def test_ids_that_are_text(tmp_path: Path) -> None:
    images = [{"id": "7", "file_name": "7.jpg"}, {"id": "x", "file_name": "x.jpg"}]
    settings = write_own(tmp_path, images, [(7, "seven"), ("x", "ex")])
    found = read(tmp_path, **settings, images=None).rows
    assert found["sample_id"].tolist() == ["coco/000000000007", "coco/x"]
    settings = write_own(tmp_path, [{"id": 1.5, "file_name": "a"}], [])
    assert "images[] number 0: id is 1.5; it must be a whole" in refusal(tmp_path, **settings)
    write_own(tmp_path, [{"id": 7, "file_name": "a"}, {"id": "7", "file_name": "b"}], [])
    assert "images[] number 1: id '7' stands twice; keep one" in refusal(tmp_path, **settings)


def test_an_image_without_captions_is_counted(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(3)]
    settings = write_own(tmp_path, images, [(1, "one")])
    assert read(tmp_path, **settings, images=None).uncaptioned == {"test": 2}
    karpathys = coco_images()
    karpathys[2]["sentences"] = []
    write_coco(tmp_path, karpathys)
    assert read(tmp_path, images=None).uncaptioned == {"val": 1}


@pytest.mark.parametrize("tar", [False, True])
@pytest.mark.parametrize("name", ["val2014/7.jpg", "7.jpg"])
@pytest.mark.parametrize("where", ["7.jpg", "val2014/7.jpg", "val2017/000000000007.jpg"])
def test_images_are_found_by_path_name_or_number(
    tmp_path: Path, name: str, where: str, tar: bool
) -> None:
    settings = write_own(tmp_path, [{"id": 7, "file_name": name}], [(7, "seven")])
    if tar:
        write_tar(tmp_path / "images.tar", {f"./{where}": b"x"})
        settings["images"] = "images.tar"
    else:
        (tmp_path / "images" / where).parent.mkdir(parents=True)
        (tmp_path / "images" / where).touch()
    media = read(tmp_path, **settings).rows["media"].tolist()
    assert media == [f"{tmp_path}/images{'.tar::' if tar else '/'}{where}"]


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    write_coco(tmp_path).write_text('{"images": [], "images": []}')
    assert "the key 'images' stands twice in one object" in refusal(tmp_path)
