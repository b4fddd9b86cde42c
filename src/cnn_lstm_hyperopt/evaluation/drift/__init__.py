"""Tests for changes of a market: of the distribution of features, and of the error rate of a model."""
