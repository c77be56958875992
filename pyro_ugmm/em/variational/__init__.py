"""Variational Bayes of Gaussian mixtures in closed form."""
