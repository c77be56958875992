"""Slow checks that are run by hand."""
