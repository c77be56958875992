"""The evidences of models, and how probable each is.

``EvidenceTable.plot`` draws by this, from a floor below: nothing is imported here but the style.
"""

from typing import TYPE_CHECKING, Any

from ..checks import check
from .style import (
    HIGHLIGHT,
    POSTERIOR,
    SMALL,
    WIDE,
    axes_for,
    label_axes,
    outlined,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_evidence"]

_INCHES_A_MODEL, _POINTS_A_NAME, _SIZE = 0.45, 150, 9
_LEAST_SHOWN = 0.01


def plot_evidence(table: Any, *, ax: Any = None) -> "Axes":
    """Draws log evidences with two standard errors, a line a model, beside their probabilities.

    The most probable is red.

    Args:
        table: what :func:`~pyro_ugmm.sampling.compare_evidence` returned.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if it is no table.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> from pyro_ugmm.plots import plot_evidence
        >>> from pyro_ugmm.sampling import compare_evidence, sample_posterior
        >>> sample = sample_posterior(BayesianGaussianMixture(1, 1), torch.randn(20, 1), seed=0)
        >>> plot_evidence(compare_evidence({"one": sample})).get_xlabel()
        'log evidence (nats)'
    """
    is_one = hasattr(table, "rows") and hasattr(table, "probabilities")
    check(is_one, "table", "what compare_evidence returned", type(table).__name__)
    rows = table.rows
    width, height = WIDE
    ax = axes_for(ax, (width, max(height, _INCHES_A_MODEL * len(rows))))
    best = max(row.probability for row in rows)
    for at, row in enumerate(rows):
        style = {"color": HIGHLIGHT if row.probability == best else POSTERIOR, "capsize": 3}
        ax.errorbar(row.log_evidence, at, xerr=2 * row.error, marker="o", **style)
    labels = [wrapped(row.name, _POINTS_A_NAME, _SIZE) for row in rows]
    ax.set_yticks(range(len(rows)), labels, size=_SIZE)
    ax.set_ylim(len(rows) - 0.5, -0.75)
    ax.margins(x=0.1)
    ax.xaxis.get_major_locator().set_params(nbins=6)
    label_axes(ax, "log evidence (nats)")
    middle = sum(ax.get_xlim()) / 2
    for at, row in enumerate(rows):
        side = ("right", _SIZE) if row.log_evidence > middle else ("left", -_SIZE)
        place = {"xytext": (side[1], 6), "textcoords": "offset points", "ha": side[0]}
        place |= {"path_effects": outlined()}
        ax.annotate(_said(row.probability), (row.log_evidence, at), fontsize=SMALL, **place)
    return ax


def _said(probability: float) -> str:
    shown = f"{probability:.2f}" if probability >= _LEAST_SHOWN else f"under {_LEAST_SHOWN}"
    return f"probability {shown}"
