"""What guides, training and diagnostics ask of a Pyro program, and what any program answers.

A model is a Pyro callable: ``model(x, y)``, ``model(x)``, or any other whose arguments are given by
name. Each file holds what one client asks, as a protocol that a model may fulfill, and the
answer of a program that does not, from a trace of it.
"""
