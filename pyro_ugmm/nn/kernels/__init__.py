"""The log-density of a layer of mixture neurons, by the best backend there is."""

from .dispatch import backend_for, force_backend, layer_log_density

__all__ = ["backend_for", "force_backend", "layer_log_density"]
