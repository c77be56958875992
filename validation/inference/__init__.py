"""Slow checks of inference: calibration, agreement of SVI with NUTS, comparison of models."""
