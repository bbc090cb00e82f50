"""Bricks that two methods or more use."""
