"""Layers that any family of networks may use."""
