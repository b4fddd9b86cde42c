"""Checks that features use no later bars. One check recomputes features, the other uses statistics."""
