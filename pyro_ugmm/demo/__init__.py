"""The main jobs on one table: a mixture, its posterior, a network; what they say and pictures.

Run as ``python -m pyro_ugmm.demo``, on Iris, or with ``--data FILE.csv --target COLUMN``.
"""

from .network import DROPOUT, SIZES, Trained, train_both

__all__ = ["DROPOUT", "SIZES", "Trained", "train_both"]
