"""The loss of training, step by step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..checks import check
from ..training import FitResult
from .legends import add_legend
from .style import axes_for, colors, label_axes, number_factors, number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_losses"]

_FACTOR = 3  # from which on an axis is logarithmic
_SHARE, _MOST_HEIGHTS = 0.9, 10  # of the steps; of their range


def plot_losses(results: Mapping[str, FitResult] | FitResult, *, ax: Any = None) -> "Axes":
    """Draws the loss of each step of one or several runs, in nats, with its running mean.

    Where a run settled, a dotted line is at the step from which on its parameters are averaged.
    Losses that are not finite leave gaps. Positive ones that span a factor of three have a
    logarithmic axis; of others, where the first steps alone would set its range, it shows the
    rest, and its label says how high they are.

    Args:
        results: one result, or several by name.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if a result is none, or of a run without steps.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.plots import plot_losses
        >>> from pyro_ugmm.training import fit_mle
        >>> model, y = UGMMClassifier(UGMMNetwork([2, 4, 3])), torch.arange(30) % 3
        >>> result = fit_mle(model, torch.randn(30, 2), y, steps=20, progress=False)
        >>> plot_losses({"maximum likelihood": result}).get_ylabel()
        'loss (nats)'
    """
    named = results if isinstance(results, Mapping) else {"loss": results}
    got = [type(result).__name__ for result in named.values()]
    valid = bool(named) and all(isinstance(result, FitResult) for result in named.values())
    check(valid, "results", "a FitResult, or several by name", ", ".join(got) or "none")
    empty = [name for name, result in named.items() if not result.n_steps]
    check(not empty, "results", "runs of at least one step", empty)
    ax = axes_for(ax)
    losses = {name: _finite(result.losses) for name, result in named.items()}
    settled = None
    for (name, result), color in zip(named.items(), colors(len(named)), strict=True):
        _draw_run(ax, name, losses[name], color)
        if result.averaged_from is not None:
            note = None if settled else "settled: parameters averaged from here on"
            settled = ax.axvline(result.averaged_from, color=color, linestyle=":", label=note)
    label_axes(ax, "step", "loss (nats)")
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    shown = torch.cat([*losses.values()])
    shown = shown[~shown.isnan()]
    if len(shown) and 0 < _FACTOR * float(shown.min()) < float(shown.max()):
        ax.set_yscale("log")
    elif len(shown):
        _leave_out_the_first(ax, shown)
    add_legend(ax)
    if ax.get_yscale() == "log":
        number_factors(ax.yaxis)
    return ax


def _leave_out_the_first(ax: Any, shown: Tensor) -> None:
    """Ends the axis above most losses, where a few are so high that the rest would be a line."""
    low, most, high = shown.min(), shown.quantile(_SHARE), shown.max()
    if not 0 < _MOST_HEIGHTS * (most - low) < high - low:
        return
    ax.set_ylim(float(low - 0.1 * (most - low)), float(most + 0.5 * (most - low)))
    label_axes(ax, y=f"loss (nats), up to {number_text(float(high))}")


def _finite(losses: Tensor) -> Tensor:
    """Losses with NaN for what cannot be drawn."""
    losses = losses.detach().cpu().double()
    return torch.where(losses.isfinite(), losses, torch.nan)


def _draw_run(ax: Any, name: str, losses: Tensor, color: str) -> None:
    """Draws losses faintly, and their running mean over a fiftieth of the run."""
    window = max(1, len(losses) // 50)
    mean = losses.unfold(0, window, 1).mean(-1)
    ax.plot(losses, color=color, alpha=0.3, linewidth=0.8)
    label = f"{name} (never finite)" if losses.isnan().all() else name
    style = {"color": color, "label": label, "marker": "o" if len(losses) == 1 else None}
    ax.plot(torch.arange(len(mean)) + (window - 1) / 2, mean, **style)
