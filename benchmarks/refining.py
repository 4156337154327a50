"""`python -m benchmarks.refining`: the memory of re-ranking by matching, at YouCook2's size.

Made-up clips, as many as VAST's test has, and the omni-modal model with the shape `tiny` of all
encoders. All contexts together would be N x L x W numbers; a few at a time are kept. The growth of
the process's peak is that of the scores and the candidates, and of one chunk of contexts.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from stages.cli import run

WORDS = 50


def main(
    clips: Annotated[int, typer.Option(min=2, help="Clips in the gallery, a caption each.")] = 3216,
    candidates: Annotated[int, typer.Option(min=1, help="Best answers that are scored.")] = 50,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/refining.json"
    ),
) -> None:
    """Re-rank once, and compare the memory that it took with that of all contexts."""
    import resource
    import time

    import numpy as np
    import torch

    from benchmarks.report import columns, number
    from benchmarks.step import omni
    from mmts.files import write_json
    from mmts.kinds.rerank.matching import Kind
    from mmts.metrics.scores import candidates as best

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = omni(WORDS, matching=True).eval()
    search = made(clips)
    rows = np.random.default_rng(0).standard_normal((2, clips, 16), np.float32)
    with torch.inference_mode():
        context = model.encode_vision(search.pairs.streams([0])).context
        first = search.scores(*rows)
        chosen = best(first, candidates)
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        Kind(kind="matching", candidates=candidates).rescore(model, search, first, chosen)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    row = {
        "clips": clips, "candidates": candidates, "seconds": time.process_time() - start,
        "grown_bytes": grown, "contexts_bytes": clips * context.numel() * context.element_size(),
    }  # fmt: skip
    head = ("clips", "candidates", "CPU s", "peak grew MB", "all contexts MB")
    megabytes = (number(row[name] / 1e6, ".0f") for name in ("grown_bytes", "contexts_bytes"))
    counts = (f"{clips:,}", str(candidates), number(row["seconds"], ".1f"))
    print(columns(head, [(*counts, *megabytes)], left=0))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {"torch": torch.__version__, **row})


def made(clips: int) -> Any:
    """Clips and captions at random, a few drawn at a time."""
    import numpy as np
    import torch

    from mmts.search import Search

    def streams(items: list[int]) -> dict[str, torch.Tensor]:
        count = len(items)
        return {
            "frames": torch.randint(0, 256, (count, 8, 3, 32, 32), dtype=torch.uint8),
            "audio": torch.randn(count, 1, 1024, 64),
            "subtitle": torch.randint(1, WORDS, (count, 70)),
        }

    text = torch.randint(1, WORDS, (clips, 12))
    pairs: Any = SimpleNamespace(text=text, streams=streams, owner=np.arange(clips))
    return Search(pairs, np.arange(clips), np.arange(clips))


if __name__ == "__main__":
    run(main)
