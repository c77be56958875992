"""Posteriors by sequential Monte Carlo."""
