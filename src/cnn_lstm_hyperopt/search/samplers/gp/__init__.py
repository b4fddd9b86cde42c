"""The sampler ``gp``: Gaussian processes and hypervolume improvement."""
