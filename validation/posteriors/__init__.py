"""Posteriors by sequential Monte Carlo, against long chains of NUTS, and their evidence."""
