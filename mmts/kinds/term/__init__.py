"""Loss terms: what a method minimises beside its objective, with a weight."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, PlainValidator

from mmts.kinds import Above0
from mmts.kinds.objective import OBJECTIVES
from mmts.registry import Registry
from mmts.settings.base import Name, Settings

if TYPE_CHECKING:
    from mmts.method import Method
    from mmts.towers.model import Model
    from mmts.training.tau_and_loss import Term as Function


class TermKind(Settings):
    """Base of the settings of a loss term."""

    kind: str
    weight: Above0 = 1.0
    """What its value is multiplied by in the sum; the log has the value itself."""
    label: ClassVar[str]
    """Its name in tables and figures."""
    uses_match: ClassVar[bool] = False
    """Whether it calls `Model.match`, which not every model has."""

    def check(self, method: Method) -> None:
        """Raise ValueError if the method cannot have this term."""

    @abstractmethod
    def build(self, model: Model) -> Function:
        """Return the term: a function or module that takes a `LossInput` and returns a scalar.

        Args:
            model: that is trained, for terms that ask more of it than its rows. A module must not
                have it as a part, whose weights would be trained twice: keep it in a function.
        """
        raise NotImplementedError


TERMS = Registry("loss term", "mmts.kinds.term", TermKind)


COLUMNS = (
    "step", "epoch", "loss", "tau_min", "tau_mean", "tau_max", "learning_rate", "grad_norm",
    "dataset", "method", "seed", "cell",
)  # fmt: skip
"""Of the log and of results/curves.csv, which have one for each term too."""


def _named(terms: Any) -> Any:
    """A name is the kind, and a number alone the weight."""
    if not isinstance(terms, dict):
        return terms
    found = {}
    for name, value in terms.items():
        if name in (*COLUMNS, *OBJECTIVES.kinds) or str(name).startswith("val_"):
            raise ValueError(
                f"a loss term is called {name}, as a column of the log or an objective is; rename "
                "its file"
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = {"weight": value}
        found[name] = {"kind": name, **value} if isinstance(value, Mapping) else value
    return found


Term = Annotated[Any, TERMS, PlainValidator(TERMS.validated)]
Terms = Annotated[dict[Name, Term], BeforeValidator(_named)]
