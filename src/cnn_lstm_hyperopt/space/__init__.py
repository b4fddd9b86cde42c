"""Hyperparameters: specifications, domains and their YAML form. This package contains the name of no parameter."""
