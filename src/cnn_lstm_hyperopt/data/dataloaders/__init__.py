"""Datasets from a user's own PyTorch DataLoaders."""
