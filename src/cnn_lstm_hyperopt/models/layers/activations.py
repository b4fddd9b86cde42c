"""Activations: names in a configuration → classes of ``torch.nn``."""

ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "swish": "SiLU"}
"""In the order of the search space; the random draws of a study depend on it."""
