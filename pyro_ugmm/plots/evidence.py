"""The evidences of models, and how probable each is.

``EvidenceTable.plot`` draws by this, from a floor below: nothing is imported here but the style.
"""

from typing import TYPE_CHECKING, Any

from ..checks import check
from .style import POSTERIOR, SMALL, axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_evidence"]


def plot_evidence(table: Any, *, ax: Any = None) -> "Axes":
    """Draws log evidences with two standard errors, a line a model, and writes probabilities.

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
    ax, at = axes_for(ax), range(len(table.rows))
    found = [row.log_evidence for row in table.rows]
    errors = [2 * row.error for row in table.rows]
    ax.errorbar(found, at, xerr=errors, color=POSTERIOR, linestyle="", marker="o", capsize=3)
    for height, row in zip(at, table.rows, strict=True):
        place = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
        said = f"probability {row.probability:.2g}"
        ax.annotate(said, (row.log_evidence, height), fontsize=SMALL, **place)
    ax.set_yticks([*at], [str(row.name) for row in table.rows])
    ax.set(xlabel="log evidence (nats)", ylim=(len(found) - 0.5, -0.7))
    ax.margins(x=0.15)
    return ax
