"""Predictive densities of continuous targets on held-out rows: log score, coverage, width."""
