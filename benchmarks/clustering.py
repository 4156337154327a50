"""`python -m benchmarks.clustering`: streamed K-Means beside its products alone and scikit-learn.

Over one memory-mapped file, in one process and on one thread, one round after the other, each with
every candidate once; medians of CPU time. The products alone are the fastest of several blocks.
Memory is that of a whole fit (start, two iterations, labels), each in a process of its own that has
read the file before, so that only what is held beside the file counts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from stages.cli import run

OURS, THEIRS = "ours", "scikit-learn"
PRODUCTS = {f"products alone, {rows} rows": rows for rows in (1024, 8192)}
WRITE_ROWS = 10_000


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Vectors.")] = 1_000_000,
    dim: Annotated[int, typer.Option(min=1, help="Numbers in a vector.")] = 384,
    k: Annotated[int, typer.Option(min=1, help="Clusters.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the one that warms up.")] = 3,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/clustering.json"
    ),
) -> None:
    """Time an iteration and measure the memory; the file takes 4 x rows x dim bytes on the disk."""
    import statistics
    import tempfile
    from importlib.metadata import version

    from benchmarks.report import bar, bar_table, columns, number
    from mmts.files import write_json

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.npy"
        write_vectors(path, rows, dim, k)
        extra = {form: memory(path, k, form) for form in (OURS, THEIRS)}
        took, same, apart = iterations(path, k, rounds)
    middle = {form: statistics.median(seconds) for form, seconds in took.items()}
    floor, held = min(middle[form] for form in PRODUCTS), 4 * rows * dim
    found: list[dict[str, Any]] = [
        {"form": form, "seconds": seconds, "over_products": seconds / floor,
         "extra_bytes": extra.get(form), "rounds": took[form]}
        for form, seconds in middle.items()
    ]  # fmt: skip
    beside = extra[OURS]
    bars = [
        bar("time of an iteration over that of its products", middle[OURS] / floor, "<=", 1.6),
        bar("memory beside the vectors over theirs", beside and beside / held, "<=", 0.3),
        bar("share of labels that are scikit-learn's", same, ">=", 0.99999),
        bar("largest difference from its centroids", apart, "<=", 1e-5),
    ]
    versions = {name: version(name) for name in ("numpy", "scikit-learn")}
    said = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{rows} x {dim}, K = {k}, float32, CPU, 1 thread, {said}, {rounds} rounds\n")
    lines = [
        (r["form"], number(r["seconds"], ".3f"), number(r["over_products"], ".2f"),
         number(r["extra_bytes"] and r["extra_bytes"] / 1e6, ".0f"))
        for r in found
    ]  # fmt: skip
    print(columns(("form", "s an iteration", "over products", "extra MB"), lines, left=1) + "\n")
    print(bar_table(bars))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {
        "rows": rows, "dim": dim, "k": k, "versions": versions, "forms": found, "bars": bars,
    })  # fmt: skip


def write_vectors(path: Path, rows: int, dim: int, k: int) -> None:
    """Unit vectors around k centres, as a .npy file."""
    import numpy as np

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((k, dim), dtype=np.float32)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dim))
    for start in range(0, rows, WRITE_ROWS):
        part = out[start : start + WRITE_ROWS]
        part[:] = centres[rng.integers(0, k, len(part))]
        part += 2 * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    out.flush()


def iterations(path: Path, k: int, rounds: int) -> tuple[dict[str, list[float]], float, float]:
    """CPU seconds of each form's iteration, and how ours agrees with scikit-learn's.

    Both start at the first k vectors. Returns the share of equal labels and the largest difference
    of the centroids as well.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from sklearn.cluster._k_means_lloyd import lloyd_iter_chunked_dense
    from threadpoolctl import threadpool_limits

    from benchmarks.measure import interleaved
    from mmts.kmeans import step
    from mmts.passes import Passes

    vectors = np.asarray(np.load(path, mmap_mode="r"))
    count = len(vectors)
    first, one = vectors[:k].copy(), np.ones(count, np.float32)
    centroids, labels = first.astype(np.float64), np.full(count, -1)
    theirs = {"centroids": np.empty_like(first), "labels": np.empty(count, np.int32)}
    size, shift = np.empty(k, np.float32), np.empty(k, np.float32)

    def products(block: int) -> Callable[[], None]:
        out = np.empty((block, k), np.float32)

        def call() -> None:
            for start in range(0, count, block):
                x = vectors[start : start + block]
                np.matmul(x, first.T, out=out[: len(x)])

        return call

    def scikit_learn() -> None:
        new, given = theirs["centroids"], theirs["labels"]
        lloyd_iter_chunked_dense(vectors, one, first, new, size, given, shift, 1)

    with threadpool_limits(1), ThreadPoolExecutor(1) as pool:
        fitted = Passes(vectors, np.arange(count), np.ones(count, np.int64), pool)
        calls: dict[str, Callable[[], object]] = {
            OURS: lambda: step(fitted, centroids, labels),
            **{form: products(block) for form, block in PRODUCTS.items()},
            THEIRS: scikit_learn,
        }
        took = interleaved(calls, rounds, "cpu")
        ours, _ = step(fitted, centroids, labels)
    apart = float(np.abs(ours - theirs["centroids"]).max())
    return took, float((labels == theirs["labels"]).mean()), apart


def memory(path: Path, k: int, form: str) -> int | None:
    """Bytes that a fit takes beside the file, in a fresh process; None where unknown."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(peak_of_fit, path, k, form).result()


def peak_of_fit(path: Path, k: int, form: str) -> int | None:
    """Two iterations of K-Means from a k-means++ start, or for scikit-learn from given vectors."""
    import numpy as np
    from sklearn.cluster import KMeans

    from benchmarks.measure import peak_extra
    from mmts.kmeans import streamed

    vectors = np.load(path, mmap_mode="r")
    rows = np.arange(len(vectors))
    for start in range(0, len(vectors), WRITE_ROWS):
        vectors[start : start + WRITE_ROWS].max()  # its pages count from now on, not in the call
    calls: dict[str, Callable[[], object]] = {
        OURS: lambda: streamed(vectors, rows, np.ones_like(rows), k, seed=0, max_iterations=2),
        THEIRS: lambda: KMeans(k, init=vectors[:k], n_init=1, max_iter=2).fit(vectors),
    }
    return peak_extra(calls[form], "cpu")


if __name__ == "__main__":
    run(main)
