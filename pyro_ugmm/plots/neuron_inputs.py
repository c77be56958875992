"""What a neuron looks at: a number for each of its inputs."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..checks import check, check_choice, check_integer
from ..distributions import UnivariateGaussianMixture
from .positions import check_names, check_position
from .style import POSTERIOR, SMALL, SQUARE, WIDE, axes_for, label_axes, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_neuron_inputs"]

_QUANTITIES = ("weight", "mean", "scale", "precision")
_WORDS = {
    "weight": "weight of an input",
    "mean": "mean of an input",
    "scale": "scale of an input",
    "precision": "precision of an input, 1 / scale²",
}
_FACTOR = 100
_MOST_BARS, _POINTS_A_NAME, _INCHES_A_BAR = 20, 170, 0.22


def plot_neuron_inputs(
    nodes: UnivariateGaussianMixture,
    index: int,
    quantity: str = "weight",
    *,
    shape: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    ax: Any = None,
) -> "Axes":
    """Draws a number of each input of a neuron, as an image or as bars.

    Bars are of the inputs of the largest weights, twenty at most, the largest on top. Colors of
    means part at zero; those of scales and precisions that differ a hundredfold are logarithmic.

    Args:
        nodes: the neurons, such as ``layer.nodes``, batch shape ``(J,)``.
        index: which neuron.
        quantity: ``"weight"``, ``"mean"``, ``"scale"`` or ``"precision"`` of the component that
            scores the input; means and scales are in units of the inputs.
        shape: height and width of the images that the inputs are; bars are drawn if None.
        names: of the inputs, for bars; their numbers if None.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the neurons have another batch shape, there is no such neuron, quantity or
            name, or the inputs are no image of that shape.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMLayer
        >>> from pyro_ugmm.plots import plot_neuron_inputs
        >>> nodes = UGMMLayer(64, 10).nodes
        >>> plot_neuron_inputs(nodes, 0, "mean", shape=(8, 8)).get_title()
        'mean of an input'
        >>> plot_neuron_inputs(UGMMLayer(4, 3).nodes, 0).get_xlabel()
        'weight of an input'
    """
    got = type(nodes).__name__
    is_mixture = isinstance(nodes, UnivariateGaussianMixture)
    check(is_mixture, "nodes", "a UnivariateGaussianMixture, such as layer.nodes", got)
    batch, n_inputs = tuple(nodes.batch_shape), nodes.n_components
    check(len(batch) == 1, "nodes", "batch shape (J,)", batch)
    index = check_position("index", index, batch[0], "a neuron from")
    quantity = check_choice("quantity", quantity, _QUANTITIES)
    names = check_names("names", names, [f"input {k}" for k in range(n_inputs)], "input")
    weights, scale = nodes.probs[index].detach().cpu(), nodes.scale[index].detach().cpu()
    values = {
        "weight": weights,
        "mean": nodes.loc[index].detach().cpu(),
        "scale": scale,
        "precision": scale**-2,
    }[quantity]
    if shape is not None:
        return _draw_image(ax, values.reshape(_checked_shape(shape, n_inputs)), quantity)
    most = weights.argsort(descending=True, stable=True)[:_MOST_BARS].tolist()
    width, height = WIDE
    ax = axes_for(ax, (width, max(height * 0.6, _INCHES_A_BAR * len(most) + 0.8)))
    ax.barh(range(len(most)), values[most].numpy(), color=POSTERIOR, height=0.7)
    labels = [wrapped(names[k], _POINTS_A_NAME, SMALL) for k in most]
    ax.set_yticks(range(len(most)), labels, size=SMALL)
    ax.set_ylim(len(most) - 0.4, -0.6)
    rest = n_inputs - len(most)
    note = f" ({rest} inputs of smaller weights are not shown)" if rest else ""
    label_axes(ax, f"{_WORDS[quantity]}{note}")
    return ax


def _checked_shape(shape: Any, n_inputs: int) -> tuple[int, int]:
    """Checks that a shape is one of an image of all inputs, and returns it."""
    expected = f"height and width of images of {n_inputs} pixels"
    is_pair = isinstance(shape, Iterable) and len(sides := [*shape]) == 2
    check(is_pair, "shape", expected, repr(shape))
    height, width = (check_integer("shape", side) for side in sides)
    check(height * width == n_inputs, "shape", expected, (height, width))
    return height, width


def _draw_image(ax: Any, image: torch.Tensor, quantity: str) -> "Axes":
    """Draws a number for each pixel; means in colors that part at zero."""
    ax = axes_for(ax, SQUARE)
    style: dict[str, Any] = {"cmap": "Blues", "vmin": 0}
    if quantity == "mean":
        most = float(image.abs().max()) or 1.0
        style = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    elif quantity != "weight" and image.max() > _FACTOR * image.min():
        from matplotlib.colors import LogNorm

        style = {"cmap": "Blues", "norm": LogNorm(float(image.min()), float(image.max()))}
    shown = ax.imshow(image.numpy(), **style)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(shown, ax=ax, shrink=0.8)
    ax.set_title(_WORDS[quantity], fontsize=10)
    return ax
