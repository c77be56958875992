"""The axes that a plot is drawn in."""

from typing import Any

__all__ = ["given_or_new"]


def given_or_new(ax: Any, figsize: tuple[float, float] | None = None) -> Any:
    """Returns the axes given, or new ones."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", figsize=figsize)[1]
