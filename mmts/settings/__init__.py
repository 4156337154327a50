"""The settings of params.yaml as types: names, ranges, and what each number means."""

from mmts.settings.base import END, Name, Positive, Seed, Settings, Share, Width
from mmts.settings.dataset import (
    Clustering,
    ColumnClustering,
    Dataset,
    Embed,
    Grid,
    KMeansClustering,
    Pack,
    Report,
)
from mmts.settings.sources import (
    Captions,
    CC3MPart,
    CC3MSource,
    CocoSource,
    EK100Source,
    Flickr8kSource,
    Flickr30kSource,
    OpenMojiSource,
    Source,
    Split,
    TableSource,
)
from mmts.settings.towers import TextTower, Towers, VisionTower
from mmts.settings.training import Augment, Evaluate, Head, Train

__all__ = [
    "END",
    "Augment",
    "CC3MPart",
    "CC3MSource",
    "Captions",
    "Clustering",
    "CocoSource",
    "ColumnClustering",
    "Dataset",
    "EK100Source",
    "Embed",
    "Evaluate",
    "Flickr8kSource",
    "Flickr30kSource",
    "Grid",
    "Head",
    "KMeansClustering",
    "Name",
    "OpenMojiSource",
    "Pack",
    "Positive",
    "Report",
    "Seed",
    "Settings",
    "Share",
    "Source",
    "Split",
    "TableSource",
    "TextTower",
    "Towers",
    "Train",
    "VisionTower",
    "Width",
]
