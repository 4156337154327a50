"""What the paper prints (arXiv 2603.08202), verbatim: Table 1 (CC3M) and 2, 4 and 5 (EK-100)."""

from __future__ import annotations

from mmts.reporting.paper import Experiment, Group, Published, PublishedTable, Recipe
from mmts.reporting.published_ssv2 import SSV2_LT
from mmts.reporting.published_vast import YOUCOOK2

_MARGIN, _MARGIN_MMTS = Recipe("max_margin"), Recipe("max_margin", ts=True, ics=True)

_TABLES_2_4_5 = (
    PublishedTable(
        2,
        "Comparison with other methods",
        (
            Published("MME", (43.0, 34.0, 38.5, 50.1, 46.9, 48.5), "TBN"),
            Published("JPoSE", (49.9, 38.1, 44.1, 55.5, 51.6, 53.5), "TBN"),
            Published("EgoVLP", (49.9, 40.5, 45.0, 60.9, 57.9, 59.4), "TSF-B"),
            Published("LaViLa", (55.2, 45.7, 50.5, 66.5, 63.4, 65.0), "TSF-B"),
            Published("AVION", (55.7, 48.2, 52.0, 67.8, 65.3, 66.5), "ViT-B", _MARGIN),
            Published(
                "AVION + MM-TS", (58.8, 48.9, 53.9, 68.9, 65.8, 67.3), "ViT-B", _MARGIN_MMTS
            ),
        ),
    ),
    PublishedTable(
        4,
        "Schedule (TS) and shifts (ICS) under both losses",
        (
            Published("MI-MM", (55.3, 47.6, 51.4, 67.6, 64.8, 66.2), recipe=_MARGIN),
            Published(
                "MI-MM w/ TS", (58.4, 48.6, 53.6, 69.4, 64.8, 66.9),
                recipe=Recipe("max_margin", ts=True),
            ),
            Published(
                "MI-MM w/ ICS", (56.4, 48.4, 52.4, 68.2, 66.0, 67.1),
                recipe=Recipe("max_margin", ics=True),
            ),
            Published(
                "MI-MM w/ TS&ICS", (58.8, 48.9, 53.9, 68.9, 65.8, 67.3), recipe=_MARGIN_MMTS
            ),
            Published("CLIP", (47.0, 39.8, 43.1, 64.4, 61.2, 62.8), recipe=Recipe("info_nce")),
            Published(
                "CLIP w/ TS", (55.0, 41.7, 48.4, 69.1, 64.6, 66.8),
                recipe=Recipe("info_nce", ts=True),
            ),
            Published(
                "CLIP w/ ICS", (52.2, 43.6, 47.8, 68.0, 64.8, 66.4),
                recipe=Recipe("info_nce", ics=True),
            ),
            Published(
                "CLIP w/ TS&ICS", (54.6, 43.9, 49.2, 68.6, 64.4, 66.4),
                recipe=Recipe("info_nce", ts=True, ics=True),
            ),
        ),
    ),
    PublishedTable(
        5,
        "The distribution behind the shifts",
        (
            Published(
                "verbs & nouns", (58.2, 48.7, 53.4, 68.3, 65.5, 66.9),
                recipe=Recipe("max_margin", ts=True, ics=True, column="verb_noun"),
            ),
            Published(
                "verbs", (58.5, 48.7, 53.6, 68.0, 65.3, 66.7),
                recipe=Recipe("max_margin", ts=True, ics=True, column="verb"),
            ),
            Published("nouns", (58.8, 48.9, 53.9, 68.9, 65.3, 67.3), recipe=_MARGIN_MMTS),
        ),
    ),
)  # fmt: skip


_TABLE_1 = PublishedTable(
    1,
    "Trained on CC3M, tested zero-shot on Flickr30K and MSCOCO",
    (
        Published("CLIP", (40.9, 50.9, 45.9, 21.3, 26.9, 24.1), "RN50", Recipe("info_nce")),
        Published(
            "CLIP + Ours", (41.5, 54.3, 47.9, 21.2, 28.4, 24.8), "RN50",
            Recipe("info_nce", ts=True, ics=True, column=""),
        ),
    ),
)  # fmt: skip

_RECALLS = (("t2v/R@1",), ("v2t/R@1",), ("t2v/R@1", "v2t/R@1"))

CC3M = Experiment(
    train="cc3m",
    listed=3_318_333,
    lacking=(
        "The official training list has 3,318,333 images: what is trained on fewer does not "
        "compare with the published numbers."
    ),
    words=("images", "captions"),
    tests={"flickr30k": (1_000, 5_000), "coco": (5_000, 25_010)},
    groups=tuple(
        Group(title, kind, ("IR@1", "TR@1", "Avg"), _RECALLS)
        for title, kind in (("Flickr30K", "flickr30k"), ("MSCOCO", "coco"))
    ),
    tables=(_TABLE_1,),
    further=True,
)

EK100 = Experiment(
    train="ek100",
    listed=67_217,
    lacking="The official training file has 67,217 clips.",
    words=("clips", "sentences"),
    tests={"ek100": (9_668, 3_842)},
    groups=tuple(
        Group(
            metric, "ek100", ("v2t", "t2v", "avg"),
            ((f"{metric}/v2t",), (f"{metric}/t2v",), (f"{metric}/avg",)),
        )
        for metric in ("mAP", "nDCG")
    ),
    tables=_TABLES_2_4_5,
)  # fmt: skip

EXPERIMENTS = (CC3M, EK100, YOUCOOK2, SSV2_LT)
