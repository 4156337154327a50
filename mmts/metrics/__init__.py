"""Retrieval metrics: pure functions over NumPy arrays or torch tensors."""
