"""Questions to a network about its inputs: which discrete states, which continuous values."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_integer, check_seed
from ..missing_values import network_rule
from ..randomness import generator_for
from ..tables import Table, as_table, as_vector
from .network import UGMMNetwork, check_network

__all__ = ["BestInputs", "StatePosterior", "most_probable_inputs", "state_posterior"]

_BLOCK_ROWS = 1 << 14
_PEAK_RATE, _LAST_RATE = 0.1, 1e-4
_AGREEMENT = 1e-3
# Further from all means of the first layer, in standard deviations, nothing is looked for.
_REACH = 100.0


@dataclass(frozen=True, eq=False)
class StatePosterior:
    """The posterior over joint states of discrete inputs, given the others.

    Attributes:
        inputs: the inputs asked about.
        states: the values each may take.
        log_probabilities: of the joint states, shape ``(n, S_1, S_2, ...)``.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMNetwork, state_posterior
        >>> network = UGMMNetwork([3, 8, 1])
        >>> found = state_posterior(network, torch.zeros(5, 3), {0: [0.0, 1.0], 2: [0.0, 1.0]})
        >>> found.inputs, torch.allclose(found.probabilities.sum((1, 2)), torch.ones(5))
        ((0, 2), True)
    """

    inputs: tuple[int, ...]
    states: tuple[Tensor, ...]
    log_probabilities: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Of the joint states, shape ``(n, S_1, S_2, ...)``."""
        return self.log_probabilities.exp()

    def marginal(self, index: int) -> Tensor:
        """The probabilities of the states of one input, shape ``(n, S)``."""
        found = _index(index, max(self.inputs) + 1)
        check(found in self.inputs, "index", f"one of the inputs {self.inputs}", index)
        kept = self.inputs.index(found) + 1
        summed = [dim for dim in range(1, self.log_probabilities.dim()) if dim != kept]
        return self.log_probabilities.logsumexp(summed).exp() if summed else self.probabilities

    @property
    def most_probable(self) -> Tensor:
        """The values of the most probable joint state of each row, shape ``(n, len(inputs))``."""
        at = self.log_probabilities.flatten(1).argmax(1)
        indices = torch.unravel_index(at, self.log_probabilities.shape[1:])
        values = [states[index] for states, index in zip(self.states, indices, strict=True)]
        return torch.stack(values, -1)


def _index(value: Any, size: int) -> int:
    """Returns an index below ``size`` as an ``int``; -1 for what is none."""
    try:
        found = check_integer("index", value, minimum=0)
    except ValueError:
        return -1
    return found if found < size else -1


def _as_inputs(name: str, asked: Any, n_inputs: int) -> tuple[int, ...]:
    """Returns the inputs asked about, as ``int``."""
    inputs = tuple(_index(i, n_inputs) for i in asked)
    fits = min(inputs) >= 0 and len(set(inputs)) == len(inputs)
    check(fits, name, f"different inputs of 0 to {n_inputs - 1}", list(asked))
    return inputs


def _as_output(network: UGMMNetwork, output: Any) -> int:
    n_outputs = network.sizes[-1]
    found = _index(output, n_outputs)
    check(found >= 0, "output", f"one of 0 to {n_outputs - 1}", output)
    return found


def _as_rows(network: UGMMNetwork, x: Any, asked: Sequence[int]) -> Table:
    """Takes rows of any kind, of which all but what is asked for is known."""
    first = network.layers[0]
    rows = as_table("x", x).like("the network", first.input_center)
    shape = tuple(rows.values.shape)
    fits = len(shape) == 2 and shape[0] > 0 and shape[1] == first.in_features
    check(fits, "x", f"shape (n, {first.in_features}) with at least one row", shape)
    first.check_input(rows.values)
    known = torch.ones(first.in_features, dtype=torch.bool, device=rows.values.device)
    known[list(asked)] = False
    given = rows.values.masked_fill(~known, 0.0)
    valid = network_rule(network.missing).valid(given)
    rows.check_entries(valid, "finite values, but for what is asked for")
    return rows


def _as_values(name: str, expected: str, values: Any, like: Tensor) -> Tensor:
    """Returns numbers as a vector like another tensor, finite and as different as they came."""
    try:
        given = as_vector(name, values)
    except ValueError:
        given = torch.empty(0)
    fits = given.dim() == 1 and len(given) > 0 and not given.is_complex()
    check(fits, name, expected, repr(values))
    found = given.to(like.dtype)
    expected = f"{expected} that {like.dtype} can tell apart"
    fits = bool(found.isfinite().all()) and len(found.unique()) == len(given.unique())
    check(fits, name, expected, repr(values))
    return found.to(like.device)


def _parameters(network: UGMMNetwork) -> dict[str, Tensor]:
    """What the network's parameters are, by which it is evaluated: it need not leave the training
    mode, which other threads would see.
    """
    names = ("loc", "scale", "logits")
    with torch.no_grad():
        return {
            f"layers.{i}.{name}": getattr(layer, name).detach().clone()
            for i, layer in enumerate(network.layers)
            for name in names
        }


@torch.no_grad()
def state_posterior(
    network: UGMMNetwork,
    x: Any,
    states: Mapping[int, Sequence[float] | Tensor],
    *,
    output: int = 0,
    max_states: int = 100_000,
) -> StatePosterior:
    r"""Returns the posterior over the joint states of discrete inputs, given the other inputs.

    .. math:: p(s \mid x_{\mathrm{rest}}) =
        \frac{\exp \mathrm{out}(x_{\mathrm{rest}}, s)}{
        \sum_{s'} \exp \mathrm{out}(x_{\mathrm{rest}}, s')}

    exactly, over all combinations of states. A network's score has no normalizer over continuous
    inputs, and needs none here.

    Args:
        network: the network.
        x: rows ``(n, K)``, in whatever holds rows: a tensor, an array, a data frame; what stands
            at the inputs asked about does not count.
        states: the values that each of these may take, by input.
        output: the neuron of the last layer whose score it is.
        max_states: the most joint states to enumerate.

    Raises:
        ValueError: if there are more joint states than that; the rows, inputs or states do not
            fit the network; or the score of every joint state of a row is beyond its numbers.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.nn.queries import state_posterior
        >>> states = {0: [0.0, 1.0], 2: [-1.0, 0.0, 1.0]}
        >>> found = state_posterior(UGMMNetwork([3, 8, 1]), torch.randn(5, 3), states)
        >>> found.probabilities.shape, found.marginal(2).shape
        (torch.Size([5, 2, 3]), torch.Size([5, 3]))
    """
    check_network(network)
    check(isinstance(states, Mapping) and states, "states", "values by input", states)
    inputs = _as_inputs("states", states, network.sizes[0])
    output = _as_output(network, output)
    max_states = check_integer("max_states", max_states)
    rows = _as_rows(network, x, inputs)
    known = rows.values.detach()
    values = tuple(
        _as_values("states", f"a list of finite values for input {i}", one, known)
        for i, one in zip(inputs, states.values(), strict=True)
    )
    shape = tuple(len(one) for one in values)
    n_states = math.prod(shape)
    said = f"at most max_states={max_states} joint states"
    check(n_states <= max_states, "states", said, f"{' x '.join(map(str, shape))} = {n_states}")
    joint = torch.cartesian_prod(*values).reshape(n_states, -1)
    scores, parameters = known.new_empty(len(known) * n_states), _parameters(network)
    for at in range(0, len(scores), _BLOCK_ROWS):
        which = torch.arange(at, min(at + _BLOCK_ROWS, len(scores)), device=known.device)
        filled = known[which // n_states]
        filled[:, list(inputs)] = joint[which % n_states]
        scores[which] = network(filled, parameters)[:, output]
    scores = scores.reshape(len(known), n_states)
    lost = scores.isnan().any(-1) | ~scores.isfinite().any(-1)
    expected = f"values that leave the score of some state finite in {known.dtype}"
    rows.check_entries(
        ~lost.unsqueeze(-1).expand_as(known), f"{expected} (standardize the columns)"
    )
    return StatePosterior(inputs, values, scores.log_softmax(-1).reshape(len(known), *shape))


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
        >>> found = most_probable_inputs(network, torch.zeros(5, 3), {1: (-2.0, 2.0)}, seed=0)
        >>> torch.allclose(found.scores, network(found.rows)[:, 0])
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
        >>> found = most_probable_inputs(network, torch.zeros(5, 3), {1: (-2.0, 2.0)})
        >>> found.rows.shape
        torch.Size([5, 3])
    """
    check_network(network)
    check(isinstance(bounds, Mapping) and bounds, "bounds", "(low, high) by input", bounds)
    inputs = _as_inputs("bounds", bounds, network.sizes[0])
    output = _as_output(network, output)
    n_starts, steps = check_integer("n_starts", n_starts), check_integer("steps", steps)
    seed = check_seed("seed", seed)
    table = _as_rows(network, x, inputs)
    known = table.values.detach()
    limits = _as_limits(bounds, known)
    at = torch.tensor(inputs, device=known.device)
    rows, parameters = known.repeat_interleave(n_starts, 0), _parameters(network)
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
    pairs = [_as_values("bounds", expected, pair, like) for pair in bounds.values()]
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
