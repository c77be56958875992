"""The density of a neuron, over its components or with the posterior's bands."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..checks import check
from ..distributions import UnivariateGaussianMixture
from ..precision import full_precision
from .curves import axis_over, draw_bands
from .legends import add_legend
from .positions import check_names, check_position
from .style import FAINT, POINT, POSTERIOR, axes_for, colors, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_neuron"]

_MOST_COMPONENTS, _LEAST_WEIGHT = 6, 0.01
_TAIL = 0.005
_MOST_ADDED, _MOST_VALUES = {False: 2000, True: 300}, 1 << 22


@full_precision
def plot_neuron(
    nodes: UnivariateGaussianMixture,
    index: int,
    point: UnivariateGaussianMixture | None = None,
    *,
    names: Sequence[str] | None = None,
    ax: Any = None,
) -> "Axes":
    """Draws the density of a neuron: with its components, or with its posterior bands.

    Args:
        nodes: the neurons, such as ``layer.nodes``, batch shape ``(J,)``: the density is drawn
            over the components of the largest weights, each with the input that it scores, and the
            sum of the others. Or the neurons under each posterior draw, batch shape ``(S, J)``: the
            density has bands.
        index: which neuron; :func:`pyro_ugmm.distributions.count_modes` finds those with several
            bumps.
        point: the neurons at a point estimate, batch shape ``(J,)``, drawn as one line over bands.
        names: of the inputs; their numbers if None.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the neurons have another batch shape, or there is no such neuron or name.

    Example:
        >>> import torch
        >>> from pyro_ugmm.plots import plot_neuron
        >>> from pyro_ugmm.nn import UGMMLayer
        >>> plot_neuron(UGMMLayer(4, 3).nodes, 0).get_ylabel()
        'density'
    """
    got = type(nodes).__name__
    is_mixture = isinstance(nodes, UnivariateGaussianMixture)
    check(is_mixture, "nodes", "a UnivariateGaussianMixture, such as layer.nodes", got)
    shape = tuple(nodes.batch_shape)
    check(len(shape) in (1, 2), "nodes", "batch shape (J,) or (S, J)", shape)
    index = check_position("index", index, shape[-1], "a neuron from")
    names = check_names("names", names, [f"input {k}" for k in range(nodes.n_components)], "input")
    if point is not None:
        fits = isinstance(point, UnivariateGaussianMixture) and point.batch_shape == shape[-1:]
        check(fits, "point", f"mixtures of batch shape {shape[-1:]}", point)
    ax = axes_for(ax)
    with torch.no_grad():
        node = _one(nodes, index)
        y = _grid(node)
        if len(shape) == 1:
            _draw_components(ax, node, y, names)
        else:
            _draw_bands(ax, node, y)
        if point is not None:
            density = _one(point, index).log_prob(y.to(point.loc)).exp().cpu()
            label = "maximum likelihood"
            ax.plot(y.cpu(), density, color=POINT, linestyle="--", label=label)
    label_axes(ax, "y, in units of the inputs", "density")
    ax.set(ylim=(0, None))
    add_legend(ax)
    return ax


def _one(nodes: UnivariateGaussianMixture, index: int) -> UnivariateGaussianMixture:
    """One neuron of all, batch shape ``()`` or ``(S,)``."""
    loc, scale, logits = (t[..., index, :] for t in (nodes.loc, nodes.scale, nodes.logits))
    return UnivariateGaussianMixture(loc, scale, logits=logits, validate_args=False)


def _grid(node: UnivariateGaussianMixture) -> Tensor:
    """Values over nearly all of a neuron's mass, under most draws."""
    mean, spread = node.mean, node.variance.sqrt()
    low, high = (mean - 3 * spread).median(), (mean + 3 * spread).median()
    expected = f"neurons whose moments {low.dtype} can hold"
    check((high - low).isfinite(), "nodes", expected, f"one from {low:.3g} to {high:.3g}")
    is_many = node.loc.dim() > 1
    low, high = (node.icdf(torch.full_like(mean, p)).median() for p in (_TAIL, 1 - _TAIL))
    return axis_over(float(low), float(high), node.loc, node.scale, _MOST_ADDED[is_many])


def _draw_bands(ax: Any, node: UnivariateGaussianMixture, y: Tensor) -> None:
    size = max(1, _MOST_VALUES // (len(node.loc) * node.n_components))  # draws may be many
    parts = [node.log_prob(values.unsqueeze(-1)) for values in y.split(size)]
    density, axis = torch.cat(parts).exp().cpu().T, y.cpu()
    draw_bands(ax, axis, density, "{} of the posterior")
    ax.plot(axis, density.quantile(0.5, 0), color=POSTERIOR, label="posterior median")


def _draw_components(
    ax: Any, node: UnivariateGaussianMixture, y: Tensor, names: Sequence[str]
) -> None:
    probs, loc, scale = node.probs, node.loc, node.scale
    axis, heaviest = y.cpu(), probs.topk(min(_MOST_COMPONENTS, len(probs))).indices.tolist()
    heaviest = [k for k in heaviest if probs[k] >= _LEAST_WEIGHT]
    total, rest = node.log_prob(y).exp(), len(probs) - len(heaviest)
    alone = [
        probs[k] * torch.distributions.Normal(loc[k], scale[k]).log_prob(y).exp() for k in heaviest
    ]
    for k, density, color in zip(heaviest, alone, colors(len(heaviest)), strict=True):
        label = f"{names[k]}, weight {probs[k]:.2g}"
        ax.fill_between(axis, density.cpu(), color=color, alpha=0.5, linewidth=0, label=label)
    if rest:
        others = (total - sum(alone)).clamp(min=0).cpu()
        share = float(1 - probs[heaviest].sum())
        label = f"{rest} others, weight {share:.2g}" if heaviest else f"{rest} components"
        style = {"color": FAINT, "alpha": 0.6, "linewidth": 0, "zorder": 0.9}
        ax.fill_between(axis, others, label=label, **style)
    ax.plot(axis, total.cpu(), color=POSTERIOR, label="density")
