"""Head, medium and tail: which part of the training distribution a query belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mmts.errors import InputError

PARTS = ("head", "medium", "tail")


def parts_of_clusters(cluster_size: Mapping[int, int]) -> dict[int, str]:
    """Part of each cluster: sorted by size and cut at thirds of the training rows.

    A cluster that starts before the first third of the rows (largest clusters first, equal sizes
    by cluster_id) is head, before the second third medium, the rest tail. A cluster of size 0, as
    a class that only the test split has, is tail.

    Args:
        cluster_size: training rows of each cluster_id.
    """
    total = sum(cluster_size.values())
    if total <= 0:
        raise InputError("no cluster has a training row; the clustering is empty")
    before, parts = 0, {}
    for cluster, size in sorted(cluster_size.items(), key=lambda item: (-item[1], item[0])):
        third = 3 * before // total if size else 2
        parts[cluster] = PARTS[min(third, 2)]
        before += size
    return parts


def item_cluster(cluster_ids: Sequence[int]) -> int:
    """The most frequent cluster of a media item's captions; of equally frequent ones the first."""
    if not cluster_ids:
        raise InputError("a media item has no caption, hence no cluster")
    return Counter(cluster_ids).most_common(1)[0][0]
