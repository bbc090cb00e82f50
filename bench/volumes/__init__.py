"""Scans in three dimensions cut into slices: reading, checking, caching, splitting."""
