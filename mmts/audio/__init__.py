"""Sound beside the frames of clips: cut from the video, stored as WAV, read as filterbanks.

As VAST takes it (Chen et al. 2023, arXiv 2305.18500), but for one thing: a stereo track is mixed
to mono here, where VAST takes its first channel.
"""
