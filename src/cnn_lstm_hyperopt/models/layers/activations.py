"""Activation functions: for each name in a configuration, the name of a class of ``torch.nn``."""

ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "swish": "SiLU"}
"""Classes by name, in the order of the search space; the random draws of a study depend on this order."""
