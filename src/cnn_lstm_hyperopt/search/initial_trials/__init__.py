"""Configurations that a study begins with, before its sampler proposes any."""
