"""Metrics: pure functions by kind."""
