"""Output of a run on the terminal."""
