"""What is in C: the sources, and the libraries that were built of them with the package."""

from .loading import library, open_variant, variants

__all__ = ["library", "open_variant", "variants"]
