"""Activation functions by name."""

ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "swish": "SiLU"}
"""Names of classes of ``torch.nn`` by name in the search space. The random draws of a study depend on the order."""
