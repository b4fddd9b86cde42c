"""Directions of the synthetic market: real trainings of the whole default space, recorded by ``benchmarks/record.py``."""

from problems.surrogate import Surrogate

_SURROGATE = Surrogate("synthetic")

SPACE = _SURROGATE.space
MAX_EPOCHS = _SURROGATE.max_epochs
CHANCE = _SURROGATE.chance
N_VAL = _SURROGATE.n_val
evaluate, truth, cost = _SURROGATE.evaluate, _SURROGATE.truth, _SURROGATE.cost
reference_front = _SURROGATE.reference_front
DATA = _SURROGATE.files
