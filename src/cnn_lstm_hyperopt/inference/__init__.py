"""Models after the training: saving, loading, prediction, ensembles, descriptions and export."""
