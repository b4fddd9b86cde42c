"""Activations by the name that a configuration has: which class of ``torch.nn`` each is."""

ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "swish": "SiLU"}
"""In the order of the search space, on which the random draws of a study depend."""
