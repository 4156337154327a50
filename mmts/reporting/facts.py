"""What the JSON files that the report reads must have; what else is in them does not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from mmts.errors import InputError
from mmts.files import read_json
from mmts.kinds.measure import Measure
from mmts.kinds.model import VISION
from mmts.kinds.modulator import MODULATORS
from mmts.kinds.objective import OBJECTIVES
from mmts.kinds.rerank import Rerank
from mmts.kinds.schedule import Schedule
from mmts.kinds.shift import Shift
from mmts.kinds.stream import STREAMS
from mmts.kinds.term import Terms
from mmts.method import MAX_TAU
from mmts.registry import Registry
from mmts.settings.base import Count, Name, Positive

REMEDY = "run `dvc repro`"
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Tau = Annotated[float, Field(ge=0, le=MAX_TAU)]
Rows = Annotated[int, Field(ge=0, lt=2**53)]


def _known(registry: Registry[Any]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in registry.kinds:
            raise ValueError(f"there is no {registry.what} {name}")
        return name

    return AfterValidator(check)


class Facts(BaseModel):
    """Base of what a file must have."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Used(Facts):
    shift: str
    relevancy: list[str]


class Run(Facts):
    """run.json of a training."""

    objective: Annotated[str, _known(OBJECTIVES)]
    objective_numbers: dict[str, Any] = Field(default_factory=dict)
    modulator: Annotated[str, _known(MODULATORS)]
    alpha: Tau
    schedule: Schedule
    shift_min: Tau
    shift_max: Tau
    shift: Shift
    clustering: _Used
    terms: Terms = Field(default_factory=dict)
    epochs: Positive
    total_steps: Positive
    period: Annotated[float, Field(ge=1e-7)] | None

    @model_validator(mode="after")
    def _moves(self) -> Run:
        if self.alpha and (self.schedule is None or self.period is None):
            raise ValueError("alpha is not 0, but there is no schedule or no period")
        return self

    @model_validator(mode="after")
    def _of_the_objective(self) -> Run:
        try:
            OBJECTIVES.validated({"kind": self.objective, **self.objective_numbers})
        except ValidationError:
            raise ValueError(f"objective_numbers are none of {self.objective}") from None
        return self


class _Tower(Facts):
    name: str


class _Towers(Facts):
    vision: _Tower


class _Stream(Facts):
    kind: Annotated[str, _known(STREAMS)]


class _Kind(Facts):
    streams: list[str] = [VISION]


class Model(Facts):
    """model.json of a training."""

    model: _Kind = _Kind()
    towers: _Towers
    streams: dict[Name, _Stream] = {}


Metrics = Annotated[dict[Name, dict[str, Number]], Field(min_length=1)]
"""metrics.json of an evaluation, by source."""


class Judges(Facts):
    """measure.json of an evaluation."""

    measure: Measure
    rerank: Rerank


class _Coverage(Facts):
    listed: Rows
    there: Rows


class _Source(Facts):
    kind: str
    publishable: bool
    credit: str | None = None
    coverage: dict[str, _Coverage] = {}
    merged: Rows = 0
    uncaptioned: dict[str, Rows] = {}
    official: dict[str, Rows] = {}


class _Drawn(Facts):
    items: Rows
    pool: str
    of: Rows
    each: Rows = 0
    fewer: Rows = 0


class _LongTail(Facts):
    column: str
    counts: str
    seed: Rows
    classes: Rows
    largest: Rows
    smallest: Rows
    drawn: dict[str, _Drawn]


class _Repeat(Facts):
    split: str
    also_in: str
    pictures: Rows
    of: Rows
    example: Annotated[list[str], Field(min_length=2, max_length=2)]


class Summary(Facts):
    """summary.json of the captions."""

    sources: dict[Name, _Source]
    long_tail: _LongTail | None = None
    repeats: list[_Repeat] = []
    dropped: dict[str, Rows] = {}


class _Clips(Facts):
    lost: Count = 0


class _Empty(Facts):
    items: Rows
    first: Annotated[list[str], Field(min_length=1)]


class Manifest(Facts):
    """manifest.json of the shards, the part that the shards' own reader does not check."""

    clips: _Clips = _Clips()
    samples: dict[str, Rows] = {}
    empty: dict[str, dict[str, _Empty]] = {}


class Clustering(Facts):
    """The JSON beside a clustering."""

    label: str
    column: str
    published: bool
    noise: Rows


class _Picture(Facts):
    sample_id: str
    match: bool = False
    relevancy: Number | None = None


class _Text(_Picture):
    text: str


class _Retrieval(Facts):
    source: str
    query_id: str
    sample_id: str
    query: str


class _OfPictures(_Retrieval):
    direction: Literal["t2v"]
    top: list[_Picture]


class _OfTexts(_Retrieval):
    direction: Literal["v2t"]
    top: list[_Text]


Retrievals = list[Annotated[_OfPictures | _OfTexts, Field(discriminator="direction")]]
"""retrievals.json of an evaluation."""


def read_facts(path: Path, kind: Any) -> Any:
    """The JSON value in `path`, as it stands there.

    Args:
        path: of a file that a stage wrote.
        kind: what it must be: a class of Facts, or one of the types above.

    Raises:
        InputError: the file is missing or damaged, or the value is something else.
    """
    found = read_json(path, REMEDY)
    try:
        TypeAdapter(kind).validate_python(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        where = f"{path}: {place}" if place else str(path)
        raise InputError(
            f"{where} is not as a stage writes it ({first['msg']}); {REMEDY}"
        ) from None
    return found
