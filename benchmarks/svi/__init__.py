"""A step of SVI."""
