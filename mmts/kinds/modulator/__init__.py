"""One file a kind of modulator, see `mmts.registry`."""
