"""Hyperparameters: what a parameter is, which values a search may give it, and how YAML says so. Knows no parameter by name."""
