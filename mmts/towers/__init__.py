"""Vision and text encoders, and the two-tower model.

A vision tower maps [N, 3, H, W] uint8 pictures to [N, dim] features; normalising the pixels is its
own business. A text tower maps [N, L] token ids to [N, dim]. Both have the attribute `dim`.
"""
