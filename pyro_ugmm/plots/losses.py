"""The loss of training, step by step."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..checks import check
from ..training import FitResult
from .style import add_legend, axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_losses"]


def plot_losses(results: Mapping[str, FitResult] | FitResult, *, ax: Any = None) -> "Axes":
    """Draws the loss of each step of one or several runs, in nats, with its running mean.

    Where a run settled, a dotted line is at the step from which on its parameters are averaged.
    Losses that are not finite leave gaps.

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
    for i, (name, result) in enumerate(named.items()):
        color = f"C{i}"
        _draw_run(ax, name, losses[name], color)
        if result.averaged_from is not None:
            note = None if settled else "settled: parameters averaged from here on"
            settled = ax.axvline(result.averaged_from, color=color, linestyle=":", label=note)
    ax.set(xlabel="step", ylabel="loss (nats)")
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    lowest = float(torch.cat([*losses.values()]).nan_to_num(math.inf).min())
    if 0 < lowest < math.inf:
        ax.set_yscale("log")
    add_legend(ax)
    if ax.get_yscale() == "log":
        _number_factors(ax)
    return ax


def _finite(losses: Tensor) -> Tensor:
    """Losses with NaN for what cannot be drawn."""
    losses = losses.detach().cpu().double()
    return torch.where(losses.isfinite(), losses, torch.nan)


def _draw_run(ax: Any, name: str, losses: Tensor, color: str) -> None:
    """Draws losses faintly, and their running mean over a fiftieth of the run."""
    window = max(1, len(losses) // 50)
    mean = losses.unfold(0, window, 1).mean(-1)
    ax.plot(losses, color=color, alpha=0.25, linewidth=0.8)
    label = f"{name} (never finite)" if losses.isnan().all() else name
    style = {"color": color, "label": label, "marker": "o" if len(losses) == 1 else None}
    ax.plot(torch.arange(len(mean)) + (window - 1) / 2, mean, **style)


def _number_factors(ax: Any) -> None:
    """Numbers a logarithmic scale plainly: at 1, 2 and 5, or at powers of ten if they are many."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
