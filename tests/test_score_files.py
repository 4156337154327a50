import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmts.errors import InputError
from mmts.score_files import clusters_of_captions, read_scores

VIDEOS, TEXTS = ["a", "b", "c"], ["x", "y"]
SCORES = np.arange(6.0).reshape(3, 2)


def npz(path: Path, **changes: Any) -> Path:
    fields: dict[str, Any] = {"sim_mat": SCORES, "vis_ids": VIDEOS, "txt_ids": TEXTS, **changes}
    np.savez(path, **{key: value for key, value in fields.items() if value is not None})
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_matrix_in_the_order_of_the_test_set(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "s.npy", SCORES.astype(dtype))
    found = read_scores(tmp_path / "s.npy", VIDEOS, TEXTS)
    assert found.dtype == dtype and np.array_equal(found, SCORES)


def test_ids_bring_it_into_the_order_of_the_test_set(tmp_path: Path) -> None:
    turned = npz(
        tmp_path / "s.npz", sim_mat=SCORES[[2, 0, 1]][:, ::-1], vis_ids=["c", "a", "b"],
        txt_ids=["y", "x"],
    )  # fmt: skip
    assert np.array_equal(read_scores(turned, VIDEOS, TEXTS), SCORES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vis_ids": None}, "has no vis_ids, only sim_mat, txt_ids"),
        ({"vis_ids": ["a", "b", "d"]}, "vis_ids lacks 1 of the test set's 3 ids, the first c"),
        ({"vis_ids": ["a", "b", "b"]}, "vis_ids has b twice"),
        ({"txt_ids": ["x", "y", "z"]}, "txt_ids has z, which is not in the test set"),
        ({"sim_mat": SCORES.T}, r"has shape \(2, 3\); the test set needs \(3, 2\).*transpose it"),
        ({"vis_ids": np.array(VIDEOS, dtype=object)}, "vis_ids holds Python objects.*dtype=str"),
        ({"txt_ids": np.array([b"x", b"\xff"])}, "txt_ids holds bytes that are not UTF-8"),
    ],
)
def test_wrong_archives(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_scores(npz(tmp_path / "s.npz", **changes), VIDEOS, TEXTS)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give a file of scores"):
        read_scores(tmp_path / "none.npy", VIDEOS, TEXTS)
    np.save(tmp_path / "few.npy", SCORES[:2])
    with pytest.raises(InputError, match=r"shape \(2, 2\).*a row a clip and a column a sentence$"):
        read_scores(tmp_path / "few.npy", VIDEOS, TEXTS)
    (tmp_path / "s.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path / "s.npy", VIDEOS, TEXTS)
    (tmp_path / "s.npy").write_bytes(b"")
    with pytest.raises(InputError, match="is empty, cut short or damaged"):
        read_scores(tmp_path / "s.npy", VIDEOS, TEXTS)
    (tmp_path / "s.pkl").write_bytes(b"")
    with pytest.raises(InputError, match=r"neither \.npy nor \.npz \(a pickle may run code\)"):
        read_scores(tmp_path / "s.pkl", VIDEOS, TEXTS)


@pytest.mark.parametrize("name", ["s.npy", "s.npz"])
def test_damaged_files_are_scores_or_an_error(tmp_path: Path, name: str) -> None:
    if name == "s.npy":
        np.save(tmp_path / name, SCORES)
    else:
        np.savez_compressed(tmp_path / name, sim_mat=SCORES, vis_ids=VIDEOS, txt_ids=TEXTS)
    whole = (tmp_path / name).read_bytes()
    cut = [whole[:length] for length in range(0, len(whole), 40)]
    flipped = [
        whole[:n] + bytes([whole[n] ^ 255]) + whole[n + 1 :]
        for n in [*range(12), *range(12, len(whole), 17)]
    ]
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in cut + flipped:
            (tmp_path / name).write_bytes(data)
            try:
                read_scores(tmp_path / name, VIDEOS, TEXTS)
            except InputError:
                refused += 1
    assert refused > len(cut)


def test_a_score_that_is_no_number_is_named_by_its_ids(tmp_path: Path) -> None:
    scores = SCORES.copy()
    scores[0, 1] = np.inf
    turned = npz(tmp_path / "s.npz", sim_mat=scores, vis_ids=["c", "a", "b"])
    with pytest.raises(InputError, match="the score of clip c and sentence y is inf; every score"):
        read_scores(turned, VIDEOS, TEXTS)


def test_clusters_of_captions(tmp_path: Path) -> None:
    rows = {"caption_id": ["a", "b", "c", "d"], "cluster_id": [0, 1, 2, -1]}
    path = tmp_path / "c.parquet"
    pd.DataFrame({**rows, "cluster_size": [30, 20, 10, 0]}).to_parquet(path)
    assert clusters_of_captions(path, ["d", "b", "a", "a"])[1] == ["tail", "medium", "head", "head"]
    with pytest.raises(InputError, match="lacks 2 of 3 captions, the first x; give a clustering"):
        clusters_of_captions(path, ["x", "a", "y"])


def test_ids_that_are_bytes(tmp_path: Path) -> None:
    path = npz(tmp_path / "s.npz", vis_ids=np.array(VIDEOS, dtype="S"), txt_ids=np.array(TEXTS))
    assert np.array_equal(read_scores(path, VIDEOS, TEXTS), SCORES)
