"""Every mistake that params.yaml can have in one key, generated from the settings' own schema."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, NamedTuple

from mmts.errors import spelt
from mmts.kinds.clustering import CLUSTERINGS
from mmts.kinds.modulator import MODULATORS
from mmts.kinds.objective import OBJECTIVES
from mmts.kinds.schedule import SCHEDULES
from mmts.kinds.shift import SHIFTS
from mmts.kinds.source import SOURCES
from mmts.kinds.text import TEXT_TOWERS
from mmts.kinds.vision import VISION_TOWERS
from mmts.method import MAX_TAU
from mmts.registry import Registry
from mmts.settings.base import NAME
from mmts.settings.dataset import Dataset, Margin, Switches, Temperature
from tests.making import PARAMS, changed
from tests.test_model_kinds import OMNI

Key = tuple[Any, ...]
SHORT = {
    "objective": "string", "modulator": "string", "clustering": "string", "schedule": "string",
    "shift": "string", "augment": "boolean", "head": "boolean", "learning_rates": "object",
}  # fmt: skip
"""Keys that take another type too, as a short form."""
VALUES: tuple[tuple[str, Any], ...] = (
    ("null", None), ("boolean", True), ("boolean", False), ("integer", 3), ("integer", 0),
    ("number", 2.5), ("string", "2.5"), ("string", ""), ("string", "x y"), ("array", []),
    ("array", [1]), ("array", [None]), ("array", [{}]), ("object", {}), ("object", {"a": 1}),
    ("never", float("nan")), ("never", float("inf")), ("never", float("-inf")), ("never", 10**400),
    ("never", datetime.date(2020, 1, 2)), ("never", b"bytes"), ("never", {1}),
)  # fmt: skip
ENDS = (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1), ("exclusiveMaximum", 1))
BAD_NAMES = ("", " ", "a b", "../evil", "a/b", ".a", "a.b", "-a", "a\n", "é", "a" * 65)


class Case(NamedTuple):
    """One mistake: `value` set at `key` (`...` removes it), and the key that must be named."""

    what: str
    key: Key
    value: Any
    meant: str = ""

    @property
    def named(self) -> str:
        """The key as errors show it."""
        return ".".join(spelt(str(part)) for part in self.key)

    def of(self, tree: Any) -> Any:
        """A copy of the tree with the mistake."""
        return _put(tree, self.key, self.value)


def _put(tree: Any, key: Key, value: Any) -> Any:
    first, *rest = key
    copy: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    if value is ... and not rest:
        del copy[first]
    else:
        copy[first] = _put(copy[first], tuple(rest), value) if rest else value
    return copy


def everything() -> dict[str, Any]:
    """Sound settings with every kind of source, clustering and part of a method."""
    tree = changed(PARAMS, {"datasets.full": _full(), "datasets.heard": _heard()})
    numbers = {"fixed": 0.07, "alpha": 0.02, "shift_min": 0.06, "shift_max": "auto"}
    plain = {
        "objective": {"kind": "info_nce"}, "modulator": {"kind": "scheduled"},
        "schedule": {"kind": "cosine"}, "shift": {"kind": "linear"}, "temperature": numbers,
    }  # fmt: skip
    methods = tree["methods"]
    methods["base"] = {**plain, "per_dataset": {"full": {**plain, "temperature": {**numbers}}}}
    for kind in ("siglip", "cyclip", "arctanh"):
        methods[kind] = {**plain, "objective": {"kind": kind}}
    for kind in ("log", "rank"):
        methods[kind] = {**plain, "shift": {"kind": kind}}
    methods["max_margin"] = {"objective": {"kind": "max_margin"}, "margin": {"fixed": 0.2}}
    methods["learnable"] = {
        "objective": {"kind": "info_nce"}, "modulator": {"kind": "learnable"},
    }  # fmt: skip
    for modulator in ({"kind": "individual"}, {"kind": "tempnet", "tau_min": 0.01, "tau_max": 0.1}):
        methods[modulator["kind"]] = {"objective": {"kind": "sogclr"}, "modulator": modulator}
    relevant = {"shift": "default", "relevancy": ["default"]}
    methods["relevant"] = {**plain, "clustering": relevant, "relevancy_threshold": 0.1}
    tree["grid"] = {"datasets": ["tiny", "full", "heard"], "methods": list(methods), "seeds": [0]}
    return tree


def dataset_schema() -> dict[str, Any]:
    """JSON schema of a dataset: with the kinds of each registry, and what `auto` may stand for."""
    schema = Dataset.model_json_schema()
    for name in ("Temperature", "Margin"):
        _with_auto(schema["$defs"][name])
    towers = schema["$defs"]["Towers"]["properties"]
    towers["vision"], towers["text"] = (kinds(r, schema) for r in (VISION_TOWERS, TEXT_TOWERS))
    named = (
        schema["$defs"]["Captions"]["properties"]["sources"],
        schema["properties"]["clusterings"],
    )
    for mapping, registry in zip(named, (SOURCES, CLUSTERINGS), strict=True):
        (pattern,) = mapping["patternProperties"]
        mapping["patternProperties"][pattern] = kinds(registry, schema)
    return schema


def kinds(registry: Registry[Any], schema: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of any kind of a registry; what it refers to goes into `schema`."""
    options = []
    for kind in registry.kinds:
        option = registry.load(kind).model_json_schema()
        schema.setdefault("$defs", {}).update(option.pop("$defs", {}))
        options.append({**option, "title": registry.module(kind)})
    return {"oneOf": options}


def method_schema() -> dict[str, Any]:
    """JSON schema of a method: with the kinds of each registry, and numbers of its own."""
    schema = Switches.model_json_schema()
    registries = {"objective": OBJECTIVES, "modulator": MODULATORS, "schedule": SCHEDULES,
                  "shift": SHIFTS}  # fmt: skip
    for name, registry in registries.items():
        schema["properties"][name] = kinds(registry, schema)
    for name, model in (("temperature", Temperature), ("margin", Margin)):
        schema["properties"][name] = _with_auto(model.model_json_schema())
    return schema


def _with_auto(schema: dict[str, Any]) -> dict[str, Any]:
    number = {"type": "number", "minimum": 0, "maximum": MAX_TAU}
    for key in ("alpha", "shift_min", "shift_max"):
        schema["properties"][key] = {"anyOf": [number, {"const": "auto", "type": "word"}]}
    return schema


def _full() -> dict[str, Any]:
    part = {"tsv": "a.tsv", "images": "a", "names": "column"}
    tiny = PARAMS["datasets"]["tiny"]
    sources = {
        "openmoji": {"kind": "openmoji", "split": {}},
        "table": tiny["captions"]["sources"]["pairs"],
        "flickr8k": {"kind": "flickr8k"},
        "ek100": {"kind": "ek100"},
        "youcook2": {"kind": "youcook2"},
        "ssv2": {"kind": "ssv2"},
        "cc3m": {"kind": "cc3m", "train": part, "val": part, "test": part},
        "coco": {"kind": "coco", "splits": ["test"]},
        "flickr30k": {"kind": "flickr30k"},
    }
    vision = {"name": "video_vit", "image_size": 32, "clip_length": 4}
    new = {"weights": "random", "frozen": False, "shape": {}}
    towers = {"vision": vision | new, "text": {"name": "clip_text"} | new, "frozen_parts": ["a"]}
    train = {
        "augment": {"crop_area": [0.5, 1.0]}, "stream": {"url": "x"}, "checkpoint": {},
        "launcher": ["a", "b"],
    }  # fmt: skip
    tail = {"column": "kind", "ratio": 10.0}
    changes = {"captions.sources": sources, "captions.long_tail": tail, "towers": towers}
    return changed(tiny, changes | {f"train.{key}": train[key] for key in train})


def _heard() -> dict[str, Any]:
    """A dataset with an omni-modal model."""
    towers = {**OMNI["towers"]}
    towers["vision"] = {**towers["vision"], "shape": {"patch_size": 16}}
    towers["text"] = {**towers["text"], "shape": {}}
    return changed(PARAMS["datasets"]["tiny"], {**OMNI, "towers": towers})


_NEW = {"weights": "random", "frozen": False}
_SEEN = {"weights": "x", "frozen": False, "image_size": 32}
TOWERS: dict[str, list[dict[str, Any]]] = {
    "vision": [
        *({"name": name, **_SEEN} for name in ("efficientnet_lite0", "small_cnn", "small_vit")),
        {"name": "resnet", **_SEEN, **_NEW, "depth": 18},
        *(
            {"name": name, **_SEEN, **_NEW, "shape": {"patch_size": 8}}
            for name in ("vit", "clip_vision")
        ),
        *({"name": name, **_SEEN, "model": "y"} for name in ("timm", "open_clip")),
        *(
            {"name": name, **_SEEN, "clip_length": 4}
            for name in ("video_vit", "divided_vit", "clip_frames", "eva_clip")
        ),
    ],
    "text": [
        {"name": "sentence", "weights": "x", "frozen": True},
        {"name": "small_transformer", **_NEW},
        {"name": "clip_text", **_NEW, "shape": {"context": 9}},
        {"name": "distilbert", **_NEW, "pooling": "mean", "shape": {"context": 9}},
        {"name": "open_clip", **_NEW, "model": "y", "tokenizer": "z"},
        {"name": "bert", **_NEW, "shape": {"context": 9}},
    ],
}
"""A sound tower of each kind."""


def cases(
    schema: dict[str, Any], tree: Any, key: Key, seen: set[str], *, resets: bool = False
) -> Iterator[Case]:
    """The mistakes of all that stands at and below a key.

    Args:
        schema: JSON schema of what may stand there, as pydantic writes it.
        tree: a sound value.
        key: where it stands.
        seen: gets the titles of the schemas that were met.
        resets: whether null gives a setting its default, but for sources and items of lists: it is
            a mistake then only where there is none.
    """
    found = _node(schema, schema.get("$defs", {}), tree, key, seen)
    for case in found:
        if not resets or "sources" in case.key[:-1] or not isinstance(case.key[-1], str):
            yield case
        elif case.what == "missing":
            yield case._replace(value=None)  # left out it would be that of a default below
        elif case.value is not None or case.what != "type":
            yield case


def _node(schema: dict[str, Any], defs: Any, tree: Any, key: Key, seen: set[str]) -> Iterator[Case]:
    options = list(_options(schema, defs))
    if key:
        yield from _wrong_types(options, key)
    for option in options:
        if "const" not in option:
            yield from (Case("range", key, value) for value in _out_of_range(option))
        if option.get("type") == "object" and isinstance(tree, dict) and _is_kind(option, tree):
            seen.add(option.get("title", ""))
            yield from _mapping(option, defs, tree, key, seen)
        elif option.get("type") == "array" and isinstance(tree, list):
            for place, item in enumerate(tree):
                items = option["prefixItems"][place] if "prefixItems" in option else option["items"]
                yield from _node(items, defs, item, (*key, place), seen)


def _options(schema: dict[str, Any], defs: Any) -> Iterator[dict[str, Any]]:
    """The members of a union, or the one schema."""
    schema = defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    several = schema.get("anyOf", schema.get("oneOf"))
    if several is None:
        yield schema
        return
    for option in several:
        yield from _options(option, defs)


def _is_kind(option: dict[str, Any], tree: dict[str, Any]) -> bool:
    named = option.get("properties", {})
    consts = {key: named[key]["const"] for key in ("kind", "name") if "const" in named.get(key, {})}
    return all(tree[key] == const for key, const in consts.items())


def _wrong_types(options: list[dict[str, Any]], key: Key) -> Iterator[Case]:
    takes = {option.get("type") for option in options} | {SHORT.get(str(key[-1]))}
    takes |= {"integer"} if "number" in takes else set()
    takes |= {"object"} if key[0] == "datasets" and key[2:] == ("model",) else set()
    if {} not in options:  # of any type
        wrong = [value for kind, value in VALUES if kind not in takes]
        if key[-1] == "learning_rates":
            wrong.remove([])  # no pairs of pattern and rate, as the plan has them
        yield from (Case("type", key, value) for value in wrong)


def _out_of_range(option: dict[str, Any]) -> list[Any]:
    kind = option.get("type")
    if kind in ("integer", "number"):
        step = 1 if kind == "integer" else 1e-9
        bad = [option[end] + step * way for end, way in ENDS if end in option]
        bad += [option[end] for end in ("exclusiveMinimum", "exclusiveMaximum") if end in option]
        bad += [-(10**30)] if any("inimum" in name for name in option) else []
        bad += [10**30] if kind == "integer" or any("aximum" in name for name in option) else []
        return bad + ([17] if "enum" in option else [])
    if "enum" in option:
        first = option["enum"][0]
        return [f"{first}x", first.upper(), f"{first} "]
    bad = [""] * (option.get("minLength", 0) > 0) + [[]] * (option.get("minItems", 0) > 0)
    if "pattern" in option:
        bad += BAD_NAMES if option["pattern"] == NAME else ["a\0b"]
    return bad


def _mapping(
    option: dict[str, Any], defs: Any, tree: dict[str, Any], key: Key, seen: set[str]
) -> Iterator[Case]:
    yield from (Case("odd", (*key, odd), 1) for odd in (5, None, True, 2.5))
    if "patternProperties" in option:
        (schema,) = option["patternProperties"].values()
        for name in BAD_NAMES:
            yield Case("name", (*key, name), next(iter(tree.values())))
        for name in tree:
            yield from _node(schema, defs, tree[name], (*key, name), seen)
        return
    fields = option.get("properties", {})
    for name, schema in fields.items():
        for typo in {f"{name}s", name.upper(), name.replace("_", "-"), name[:-1]} - {*fields, ""}:
            yield Case("misspelt", (*key, typo), 1, meant=name)
        if name in option.get("required", ()):
            yield Case("missing", (*key, name), ...)
        yield from _node(schema, defs, tree.get(name), (*key, name), seen)
