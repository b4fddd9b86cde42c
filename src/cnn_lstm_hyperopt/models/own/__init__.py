"""Families of networks that a user registers."""
