"""Initial trials: configurations that a study tries before the sampler's first proposal."""
