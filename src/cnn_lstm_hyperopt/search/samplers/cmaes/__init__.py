"""The samplers ``cmaes`` and ``catcma``: evolution strategies."""
