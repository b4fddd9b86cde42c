"""Long tests that try to break what a run promises: kills at random moments, and mutated input."""
