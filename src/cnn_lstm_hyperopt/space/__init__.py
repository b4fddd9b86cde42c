"""Hyperparameters: specifications, domains and their YAML form. No parameter is named here."""
