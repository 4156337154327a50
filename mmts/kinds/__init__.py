"""What params.yaml can name: a folder a registry (`mmts.registry`), a file a kind.

A file imports what is heavy, such as torch, where it builds the thing, so that `plan` is quick.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Above0 = Annotated[float, Field(gt=0)]
From0 = Annotated[float, Field(ge=0)]
Above0To1 = Annotated[float, Field(gt=0, le=1)]
