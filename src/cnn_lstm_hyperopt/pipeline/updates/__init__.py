"""Updates of a retrained model on new bars: measurement, candidate, comparison, versions and rollback."""
