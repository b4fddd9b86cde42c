"""Check whether features use later bars, by recomputing them and by statistics."""
