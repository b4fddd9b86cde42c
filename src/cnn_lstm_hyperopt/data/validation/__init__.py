"""Find invalid bars and suspicious bars."""
