"""Measures of how good a transfer is."""
