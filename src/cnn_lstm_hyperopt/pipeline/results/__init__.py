"""Results of a run: ``results.json``, ``trials.csv`` and the folders of the retrained models."""
