"""Checks that find invalid bars and suspicious bars."""
