"""Sources: where the captions and media of a dataset come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import PlainValidator

from mmts.registry import Registry
from mmts.settings.base import Settings

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class SourceKind(Settings):
    """Base of the settings of a source.

    One that brings no splits has a field `split` of the type `mmts.settings.sources.Split`.
    """

    kind: str
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that it takes data from: another version of one may change the rows."""
    files: ClassVar[tuple[str, ...]] = ()
    """Settings, of parts too, that name files or folders, in data/raw/<dataset> or absolute."""
    fixed: ClassVar[bool] = True
    """Whether it reads files in data/raw/<dataset> that no setting names."""
    graded: ClassVar[bool] = False
    """Whether its captions have graded relevancy, see `mmts.captions_table`."""

    def named(self) -> Iterator[str]:
        """Yield the files and folders that the settings name."""
        left = [self.model_dump()]
        while left:
            for key, value in left.pop().items():
                if isinstance(value, dict):
                    left.append(value)
                elif key in self.files and value is not None:
                    yield from [value] if isinstance(value, str) else value

    @property
    def elsewhere(self) -> bool:
        """Whether it reads nothing in data/raw/<dataset>."""
        paths = [] if self.fixed else list(self.named())
        return bool(paths) and all(path.startswith("/") for path in paths)

    @abstractmethod
    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return the rows of the captions table.

        Args:
            raw: data/raw/<dataset>.
            work: folder to write pictures to that the source makes itself.
            final: what `work` will be called when the stage has finished; `media` names the
                pictures there.
        """
        raise NotImplementedError


SOURCES = Registry("source", "mmts.kinds.source", SourceKind)
Source = Annotated[Any, SOURCES, PlainValidator(SOURCES.validated)]
