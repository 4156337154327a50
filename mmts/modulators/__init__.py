"""Modulators: (step, batch, vision, text) -> the tau of each sample.

Any objective takes what a modulator returns, as its temperature or as its margin: a number, [N], or
a pair (v2t, t2v) of [N].
"""
