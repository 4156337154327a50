"""One command a DVC stage: read, call mmts, write."""
