"""One file a vision tower: how it is built."""
