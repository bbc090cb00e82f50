"""Procedural stand-ins for data that cannot be shipped."""
