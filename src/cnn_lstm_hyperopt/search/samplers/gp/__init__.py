"""The sampler ``gp``: Bayesian optimisation with Gaussian processes and expected hypervolume improvement."""
