"""The validation split, looked at in training; whole splits through the model."""

from __future__ import annotations

import torch

from mmts.metrics.mir import per_query, relevancy
from mmts.metrics.recall import retrieval_recall, rsum
from mmts.towers.model import Model
from mmts.towers.threads import of_encoding, threads
from mmts.training.batch import sent
from mmts.training.batches import vision_batches
from mmts.training.loading import deaths_told
from mmts.training.pairs import Pairs

VALIDATED = {
    "val_t2v_R@1": "val/t2v/R@1",
    "val_v2t_R@1": "val/v2t/R@1",
    "val_rsum": "val/rsum",
    "val_mAP": "val/mAP/avg",
    "val_nDCG": "val/nDCG/avg",
}
"""Columns of the log, and the keys of `validate` that they show."""


def validate(
    model: Model, pairs: Pairs, device: torch.device, batch_size: int, workers: int
) -> dict[str, float]:
    """Recalls of a split both ways, and rsum (0 to 600), keys under `val/`.

    With graded relevancy multi-instance mAP and nDCG instead, both ways and the average.
    """
    vision, text = encode_split(model, pairs, device, batch_size, workers)
    if pairs.classes_of is None:
        recalls = retrieval_recall(vision, text, pairs.owner)
        return {**{f"val/{k}": v for k, v in recalls.items()}, "val/rsum": rsum(recalls)}
    clips = [pairs.classes_of[row] for row in pairs.first[:-1]]
    searched = pairs.searched()
    sentences = [c for c, s in zip(pairs.classes_of, searched, strict=True) if s]
    similarity = (vision @ text[torch.from_numpy(searched)].T).numpy()
    found: dict[str, float] = {}
    both = per_query(similarity, relevancy(clips, sentences))
    for metric, values in zip(("mAP", "nDCG"), both, strict=True):
        ways = {way: float(getattr(values, way).mean()) for way in ("v2t", "t2v")}
        ways["avg"] = (ways["v2t"] + ways["t2v"]) / 2
        found |= {f"val/{metric}/{way}": value for way, value in ways.items()}
    return found


def logged(metrics: dict[str, float]) -> dict[str, float]:
    """What the log keeps of the validation metrics, by the names of its columns."""
    return {column: metrics[key] for column, key in VALIDATED.items() if key in metrics}


@deaths_told()
def encode_split(
    model: Model, pairs: Pairs, device: torch.device, batch_size: int, workers: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows of all media items, and of all captions, on the CPU.

    `workers` processes decode pictures or clips; with 0 this one does.

    Raises:
        InputError: one of them was killed.
    """
    model.eval()
    with threads(of_encoding(model, "vision"), device), torch.inference_mode():
        streams = vision_batches(pairs, batch_size, workers, device)
        found = [model.encode_vision(sent(batch, device)).rows.float().cpu() for batch in streams]
    with threads(of_encoding(model, "text"), device), torch.inference_mode():
        texts = (pairs.text[s : s + batch_size] for s in range(0, len(pairs.text), batch_size))
        said = [model.encode_text(batch.to(device)).float().cpu() for batch in texts]
    return torch.cat(found), torch.cat(said)
