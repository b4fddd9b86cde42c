"""Invalid bars and suspicious bars."""
