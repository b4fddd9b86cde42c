"""Which bars cannot be true, and which look wrong."""
