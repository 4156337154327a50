"""Cut videos into segments whose frames can be read alone, and read clips from them.

PyAV (the extra `video`) is needed to probe and to cut; segments are read without it.
"""

from mmts.video.clips import centre_crop, consistent_crop, frame_indices
from mmts.video.cut import cut, cut_many
from mmts.video.probe import VideoFacts, probe
from mmts.video.segment import SegmentReader, write_segment

__all__ = [
    "SegmentReader",
    "VideoFacts",
    "centre_crop",
    "consistent_crop",
    "cut",
    "cut_many",
    "frame_indices",
    "probe",
    "write_segment",
]
