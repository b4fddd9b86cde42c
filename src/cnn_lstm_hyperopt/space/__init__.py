"""Hyperparameters: specifications, domains and their YAML form. This package does not know the individual parameters."""
