"""One file a kind of objective, see `mmts.registry`."""
