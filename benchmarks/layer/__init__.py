"""A layer of mixture neurons."""
