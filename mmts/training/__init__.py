"""Training: batches, the loop, the log."""
