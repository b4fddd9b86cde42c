"""Saved models: weights on disk, predictions, ensembles, descriptions, exports."""
