"""At which values of continuous inputs a score is highest."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...checks import check, check_integer, check_seed
from ...randomness import generator_for
from ..network import UGMMNetwork, check_network
from .arguments import as_inputs, as_known_rows, as_output, as_values, fixed_parameters

__all__ = ["BestInputs", "most_probable_inputs"]

_PEAK_RATE, _LAST_RATE = 0.1, 1e-4
_AGREEMENT = 1e-3
# Further from all means of the first layer, in standard deviations, nothing is looked for.
_REACH = 100.0


@dataclass(frozen=True, eq=False)
class BestInputs:
    """Inputs of the highest score.

    Attributes:
        rows: the rows with these filled in, shape ``(n, K)``: a data frame for a data frame.
        scores: the score of each, shape ``(n,)``.
        agreement: the share of starts that ended at the best score, shape ``(n,)``. Near zero
            means that there may be a better one: take more starts.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMNetwork, most_probable_inputs
        >>> network = UGMMNetwork([3, 8, 1])
        >>> best = most_probable_inputs(network, torch.zeros(5, 3), {1: (-2.0, 2.0)}, seed=0)
        >>> torch.allclose(best.scores, network(best.rows)[:, 0])
        True
    """

    rows: Any
    scores: Tensor
    agreement: Tensor


@torch.inference_mode(False)  # which knows no gradients
def most_probable_inputs(
    network: UGMMNetwork,
    x: Any,
    bounds: Mapping[int, Sequence[float] | Tensor],
    *,
    output: int = 0,
    n_starts: int = 32,
    steps: int = 200,
    seed: int | None = None,
) -> BestInputs:
    r"""Finds the values of continuous inputs, within bounds, at which a score is highest.

    .. math:: \arg\max_{l \le x_{\mathrm{free}} \le u}
        \mathrm{out}(x_{\mathrm{rest}}, x_{\mathrm{free}})

    by Adam from many starts at once, drawn evenly within the bounds, all rows together; steps that
    leave the bounds end on them. Of wide bounds, only what is within a hundred standard deviations
    of a mean of the first layer is searched: beyond, hardly a score is higher.

    Args:
        network: the network.
        x: rows ``(n, K)``, in whatever holds rows: a tensor, an array, a data frame; what stands
            at the inputs asked about does not count.
        bounds: the lowest and the highest value of each of these, by input.
        output: the neuron of the last layer whose score it is.
        n_starts: how many starts for each row.
        steps: how many steps from each.
        seed: for the starts, which are else drawn by torch's generator.

    Raises:
        ValueError: if the rows, inputs or bounds do not fit the network, or no score within the
            bounds is finite.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.nn.queries import most_probable_inputs
        >>> network = UGMMNetwork([3, 8, 1])
        >>> best = most_probable_inputs(network, torch.zeros(5, 3), {1: (-2.0, 2.0)})
        >>> best.rows.shape
        torch.Size([5, 3])
    """
    check_network(network)
    check(isinstance(bounds, Mapping) and bounds, "bounds", "(low, high) by input", bounds)
    inputs = as_inputs("bounds", bounds, network.sizes[0])
    output = as_output(network, output)
    n_starts, steps = check_integer("n_starts", n_starts), check_integer("steps", steps)
    seed = check_seed("seed", seed)
    table = as_known_rows(network, x, inputs)
    known = table.values.detach()
    limits = _as_limits(bounds, known)
    at = torch.tensor(inputs, device=known.device)
    rows, parameters = known.repeat_interleave(n_starts, 0), fixed_parameters(network)
    low, high = _within_reach(parameters, at, limits)

    def score(unit: Tensor) -> Tensor:
        return network(rows.index_copy(1, at, low + (high - low) * unit), parameters)[:, output]

    generator = generator_for(seed, "cpu")  # the same starts on every device
    kind: dict[str, Any] = {"dtype": known.dtype, "device": "cpu"}
    unit = torch.rand(len(rows), len(inputs), generator=generator, **kind).to(known.device)
    _climb(score, unit, steps)
    with torch.no_grad():
        scores = score(unit).reshape(len(known), n_starts)
        scores = scores.masked_fill(scores.isnan(), -math.inf)
        best = scores.max(1)
        lost = ~best.values.isfinite()
        expected = f"limits within which some score is finite in {known.dtype}"
        check(not lost.any(), "bounds", expected, f"{dict(bounds)} for {int(lost.sum())} rows")
        agreement = (scores > best.values.unsqueeze(1) - _AGREEMENT).to(known.dtype).mean(1)
        values = (low + (high - low) * unit).clamp(*limits.unbind(1))
        chosen = values.reshape(len(known), n_starts, -1)[torch.arange(len(known)), best.indices]
        filled = known.index_copy(1, at, chosen)
    return BestInputs(table.restored(filled), best.values, agreement)


def _as_limits(bounds: Mapping, like: Tensor) -> Tensor:
    """Returns the lowest and the highest value of each input, ``(len(bounds), 2)``."""
    expected = "(low, high) by input, with low < high"
    pairs = [as_values("bounds", expected, pair, like) for pair in bounds.values()]
    fits = all(len(pair) == 2 for pair in pairs)
    check(fits, "bounds", expected, dict(bounds))
    limits = torch.stack(pairs)
    low, high = limits.unbind(1)
    check((low < high).all(), "bounds", expected, dict(bounds))
    return limits


def _within_reach(
    parameters: Mapping[str, Tensor], at: Tensor, limits: Tensor
) -> tuple[Tensor, Tensor]:
    """Draws bounds in to where the components of the first layer are, unless they lie outside."""
    loc, scale = (parameters[f"layers.0.{name}"][:, at] for name in ("loc", "scale"))
    low, high = limits.unbind(1)
    nearest = torch.maximum(low, (loc - _REACH * scale).amin(0))
    furthest = torch.minimum(high, (loc + _REACH * scale).amax(0))
    overlap = nearest < furthest
    return torch.where(overlap, nearest, low), torch.where(overlap, furthest, high)


def _climb(score: Callable[[Tensor], Tensor], unit: Tensor, steps: int) -> None:
    """Takes steps of Adam towards higher scores, in place, within zero and one."""
    with torch.enable_grad():
        unit.requires_grad_()
        optimizer = torch.optim.Adam([unit], lr=1.0)
        decay = (_LAST_RATE / _PEAK_RATE) ** (1 / steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: _PEAK_RATE * decay**i)
        for _ in itertools.repeat(None, steps):
            (slope,) = torch.autograd.grad(score(unit).sum(), unit)
            unit.grad = slope.nan_to_num_().neg_()  # NaN where a score is beyond its numbers
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                unit.clamp_(0, 1)
