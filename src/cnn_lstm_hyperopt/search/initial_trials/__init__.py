"""Initial trials: configurations that a study tries before its sampler proposes any."""
