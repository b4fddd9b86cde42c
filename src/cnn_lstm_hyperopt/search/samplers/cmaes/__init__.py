"""The sampler ``cmaes``, an evolution strategy."""
