"""Files of other kinds that were made to harm: nothing in them runs, nothing they name is read."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmts.captions import build
from mmts.config import SHOWN
from mmts.embed import load_sentence_model
from mmts.embeddings import read_embeddings
from mmts.errors import InputError, one_line
from mmts.files import read_json, read_parquet
from mmts.settings.sources import Captions
from mmts.towers.convert import convert
from mmts.training.checkpoint_files import read_tensors
from mmts.vector_cache import VectorCache
from mmts.video import cut, probe
from mmts.weights import load_state
from tests.conftest import Project
from tests.faults.apart import apart
from tests.making import picture, take_in_hand
from tests.making_video import write_video
from tests.sources.making_img2dataset import listed, write_output, write_tar


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def old_format(value: object, path: Path) -> None:
    """As torch.save wrote before version 1.6."""
    torch.save(value, path, _use_new_zipfile_serialization=False)


SAVED: list[Callable[[object, Path], object]] = [
    torch.save, old_format, lambda value, path: path.write_bytes(pickle.dumps(value, 2)),
]  # fmt: skip
READERS: list[Callable[[Path, Path], object]] = [
    lambda path, folder: load_state(path),
    lambda path, folder: read_tensors(path),
    lambda path, folder: convert(path, folder / "converted"),
]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("ending", ["pt", "pth", "bin", "safetensors"])
def test_a_pickle_in_the_place_of_weights(ending: str, project: Project) -> None:
    """By the readers, and by a stage that has it as its weights."""
    path, harm = project.root / f"weights.{ending}", project.root / "harm"
    for save in SAVED:
        save({"a": torch.ones(1), "b": Evil(harm)}, path)
        for read in READERS:
            with pytest.raises(InputError, match=str(path)):
                read(path, project.root)
        project.set(datasets__tiny__towers__vision__weights=str(path))
        assert project.run("plan").code == 0  # the file is another one than before
        ran = project.run("embed", "--dataset", "tiny")
        assert ran.code == 1 and ran.err.startswith(f"error: {path} holds no plain tensors; ")
    assert not harm.exists()
    with pytest.raises(FileExistsError):  # so that the test can fail
        pickle.loads(pickle.dumps(Evil(project.root)))


def test_an_array_of_objects(project: Project) -> None:
    harm = project.root / "harm"
    path = take_in_hand(project.root / "data/embed/tiny/text.npy")
    np.save(path, np.array([Evil(harm)], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"text\.npy is damaged \(.*; run"):
        read_embeddings(path.parent)
    assert project.run("cluster", "--dataset", "tiny").code == 1
    assert not harm.exists()


LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
PARAMS = {
    "tag": "grid: !!python/object/apply:os.mkdir [harm]",
    "name": "grid: !!python/name:os.system",
    "verbatim": "!<tag:yaml.org,2002:python/object/apply:os.mkdir> [harm]",
    "laughs": LAUGHS,
    "a laugh as a setting": LAUGHS + "\nreport: *a11\ngrid: *a11\nmethods: *a11\ndatasets: *a11",
    "no end": "grid: &a {datasets: *a}\nmethods: *a\ndatasets: *a\nreport: *a",
    "twice": "grid: {}\ngrid: {}",
    "deep": "grid: " + 500 * "[",
    "digits": "grid: " + 5000 * "9",
    "date": "grid: 2001-99-99",
    "escapes": '"\\e]0;title\\a\\e[2J": 1\ngrid: {}',
}


@pytest.mark.parametrize("name", PARAMS)
def test_parameters_that_harm(name: str, project: Project) -> None:
    """As params.yaml, and as DVC reads it before a stage begins."""
    (project.root / "params.yaml").write_text(PARAMS[name])

    def check() -> str:
        ran = project.run("plan")
        return f"{ran.code} {ran.err}"

    code, _, told = apart(check).partition(" ")
    lines = told.splitlines()
    assert code == "1" and 1 <= len(lines) <= SHOWN + 1, told
    assert all(line.startswith("error: params.yaml") for line in lines[:SHOWN]), told
    assert all(line.isprintable() for line in lines) and len(told) < 1000
    assert not (project.root / "harm").exists()


@pytest.mark.parametrize("name", ["tag", "name", "verbatim"])
def test_dvc_runs_no_tag_either(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS[name])
    with pytest.raises(YAMLFileCorruptedError):
        load_yaml("params.yaml")
    assert not Path("harm").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000])
def test_json_that_is_too_much(text: str, tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(text)
    assert apart(lambda: read_json(path)).startswith(f"refused: {path} is not JSON")


@pytest.mark.parametrize("lie", [
    {"index_columns": ["nothing"], "columns": [], "column_indexes": []},
    {"index_columns": [], "column_indexes": [], "columns": [
        {"name": "a", "field_name": "a", "pandas_type": "object", "numpy_type": "os.system",
         "metadata": None}]},
    [], "os.system",
])  # fmt: skip
def test_a_table_that_lies_about_itself(lie: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    table = pa.table({"a": ["x"]}).replace_schema_metadata({"pandas": json.dumps(lie)})
    pq.write_table(table, path)
    with pytest.raises(InputError, match=r"a\.parquet is not a"):
        read_parquet(path)


@pytest.mark.parametrize("sql", [
    "CREATE TRIGGER t AFTER INSERT ON vectors BEGIN UPDATE vectors SET vector = x'00'; END",
    "CREATE TRIGGER t AFTER INSERT ON vectors BEGIN SELECT load_extension('x'); END",
    "DROP TABLE vectors; CREATE VIEW vectors AS SELECT x'00' AS key, x'00' AS vector",
    "DROP TABLE vectors; CREATE TABLE vectors (key, vector)",
])  # fmt: skip
def test_a_cache_that_acts(sql: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    VectorCache(path, 2).__exit__(None, None, None)
    database = sqlite3.connect(path)
    database.executescript(sql)
    database.close()
    with pytest.raises(InputError, match=r"a\.sqlite is .*; delete it"):
        VectorCache(path, 2)


PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile {}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet contentType="video"><Representation id="1" bandwidth="1">'
    "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_list_of_videos_is_no_video(kind: str, tmp_path: Path) -> None:
    """FFmpeg would read the files and ask for the addresses that it names."""
    write_video(tmp_path / "real.ts", range(10))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for named in ("real.ts", str(tmp_path / "real.ts"), address):
            for ending in ("mp4", kind):
                path = tmp_path / f"list.{ending}"
                path.write_text(PLAYLISTS[kind].format(named))
                for read in (probe, lambda p: cut(p, 0, 0.1, short_side=32)):
                    with pytest.raises(InputError, match="is not a video"):
                        read(path)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_path_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may have a name that FFmpeg takes for two files to be joined."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.ts", "b.ts"):
        write_video(tmp_path / name, range(5))
    Path("concat:a.ts|b.ts").touch()
    with pytest.raises(InputError, match="is not a video"):
        probe("concat:a.ts|b.ts")


def test_the_terminal_gets_words_alone(project: Project) -> None:
    """Not a stranger's reasons, nor names of files and members: printed, warned of or refused."""
    rows = listed(12)
    rows.loc[0, "status"] = "failed\x1b[2J\x1b]0;title\x07\u202e"
    rows["caption"] = [f"{word} caption" for word in "abcdefghijkl"]
    folder = write_output(project.root / "data/raw/tiny/out", rows)
    write_tar(
        folder / "99999.tar", {"bad\x1b[2J\u202e.exe": b"", "z.jpg": picture(1), "z.txt": b"z"}
    )
    part = {"images": "out", "names": "img2dataset"}
    source = {"kind": "cc3m", "train": part, "min_coverage": 0.1}
    project.set(datasets__tiny__captions__sources={"pairs": source})
    ran = project.run("captions", "--dataset", "tiny")
    assert ran.code == 0 and "failed\\x1b[2J" in ran.out, ran
    assert "warning: " in ran.err and "99999.tar::bad\\x1b[2J\\u202e.exe\n" in ran.err
    (folder / "bad\x1b[2J\nname.tar").write_bytes(b"no tar")
    told = project.run("captions", "--dataset", "tiny")
    assert told.code == 1 and "bad\\x1b[2J name.tar" in told.err
    for text in (ran.out, ran.err, told.out, told.err):
        assert text.replace("\n", "").isprintable()
    assert one_line("a\ud800\t b\u200bé") == "a\\ud800 b\\u200bé"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("sentence_bert_config.json", "transformer_task"),
        ("config_sentence_transformers.json", "default_prompt_name"),
    ],
)
def test_an_error_that_quotes_a_file_can_be_printed(
    tmp_path: Path, sentence_folder: Path, name: str, key: str
) -> None:
    """A library's words on a sentence model that holds half a character."""
    made = shutil.copytree(sentence_folder, tmp_path / "model")
    facts = json.loads((made / name).read_text())
    (made / name).write_text(json.dumps(facts | {key: "\ud800\nb"}))
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        load_sentence_model(str(made))
    assert str(caught.value).isprintable() and "ud800" in str(caught.value)


# --- pipes and devices, which may have no end ----------------------------------------------------

OUTSIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "table": ("pairs.csv", {"kind": "table", "path": "pairs.csv"}),
    "flickr8k": ("captions.txt", {"kind": "flickr8k"}),
    "coco": ("captions_val2017.json",
             {"kind": "coco", "captions": "captions_val2017.json", "splits": ["val"]}),
    "cc3m": ("00000.parquet", {"kind": "cc3m", "train": {"images": "."}}),
}  # fmt: skip


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("source", OUTSIDE)
def test_what_is_no_regular_file_is_not_read(
    tmp_path: Path, source: str, make: Callable[[Path], None]
) -> None:
    name, settings = OUTSIDE[source]
    make(tmp_path / name)
    wanted = Captions.model_validate({"sources": {"a": settings}})
    with pytest.raises(InputError, match=f"{re.escape(name)} is no regular file; "):
        build(wanted, tmp_path, tmp_path, tmp_path)
