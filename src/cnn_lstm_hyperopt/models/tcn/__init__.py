"""Temporal convolutional networks."""
