"""Optimization of stochastic losses: batches, schedules, descent, convergence, checkpoints."""
