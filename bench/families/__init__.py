"""Families: the shape of the work, what `fit` gets and what `predict` returns."""
