"""Questions to a network about its inputs: which discrete states, which continuous values."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from ..checks import check, check_floating, check_integer, check_values
from .mode import training_mode
from .network import UGMMNetwork, check_network

__all__ = ["BestInputs", "StatePosterior", "most_probable_inputs", "state_posterior"]

_BLOCK_ROWS = 1 << 14
_PEAK_RATE, _LAST_RATE = 0.1, 1e-4
_AGREEMENT = 1e-3


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
        check(index in self.inputs, "index", f"one of the inputs {self.inputs}", index)
        kept = self.inputs.index(index) + 1
        summed = [dim for dim in range(1, self.log_probabilities.dim()) if dim != kept]
        return self.log_probabilities.logsumexp(summed).exp() if summed else self.probabilities

    @property
    def most_probable(self) -> Tensor:
        """The values of the most probable joint state of each row, shape ``(n, len(inputs))``."""
        at = self.log_probabilities.flatten(1).argmax(1)
        indices = torch.unravel_index(at, self.log_probabilities.shape[1:])
        values = [states[index] for states, index in zip(self.states, indices, strict=True)]
        return torch.stack(values, -1)


def _check_rows(network: UGMMNetwork, x: Tensor, output: int, asked: Sequence[int]) -> None:
    check_floating("x", x)
    check(x.dim() == 2 and len(x) > 0, "x", f"rows (n, {network.sizes[0]})", tuple(x.shape))
    network.layers[0].check_input(x)
    n_outputs = network.sizes[-1]
    valid = isinstance(output, Integral) and 0 <= output < n_outputs
    check(valid, "output", f"one of 0 to {n_outputs - 1}", output)
    known = torch.ones(x.shape[1], dtype=torch.bool, device=x.device)
    known[list(asked)] = False
    given = x.masked_fill(~known, 0.0)
    may_miss = given.isnan() & (network.missing == "omit")
    check_values("x", x, given.isfinite() | may_miss, "finite values, but for what is asked for")


def _check_inputs(name: str, inputs: Sequence[int], n_inputs: int) -> None:
    valid = all(isinstance(i, Integral) and 0 <= i < n_inputs for i in inputs)
    distinct = len(set(inputs)) == len(inputs) > 0
    check(valid and distinct, name, f"different inputs of 0 to {n_inputs - 1}", list(inputs))


@torch.no_grad()
def state_posterior(
    network: UGMMNetwork,
    x: Tensor,
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
        x: rows ``(n, K)``; what stands at the inputs asked about does not count.
        states: the values that each of these may take, by input.
        output: the neuron of the last layer whose score it is.
        max_states: the most joint states to enumerate.

    Raises:
        ValueError: if there are more joint states than that, or the rows, inputs or states do not
            fit the network.

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
    inputs = tuple(states)
    _check_inputs("states", inputs, network.sizes[0])
    _check_rows(network, x, output, inputs)
    check_integer("max_states", max_states)
    values = tuple(torch.as_tensor(states[i], dtype=x.dtype, device=x.device) for i in inputs)
    for i, one in zip(inputs, values, strict=True):
        valid = one.dim() == 1 and len(one) > 0 and bool(one.isfinite().all())
        check(valid, "states", f"a list of finite values for input {i}", states[i])
    shape = tuple(len(one) for one in values)
    n_states = math.prod(shape)
    said = f"at most max_states={max_states} joint states"
    check(n_states <= max_states, "states", said, f"{' x '.join(map(str, shape))} = {n_states}")
    joint = torch.cartesian_prod(*values).reshape(n_states, -1)
    scores = x.new_empty(len(x) * n_states)
    with training_mode(network, False):
        for at in range(0, len(scores), _BLOCK_ROWS):
            which = torch.arange(at, min(at + _BLOCK_ROWS, len(scores)), device=x.device)
            rows = x[which // n_states]
            rows[:, list(inputs)] = joint[which % n_states]
            scores[which] = network(rows)[:, output]
    log_probabilities = scores.reshape(len(x), n_states).log_softmax(-1)
    return StatePosterior(inputs, values, log_probabilities.reshape(len(x), *shape))


@dataclass(frozen=True, eq=False)
class BestInputs:
    """Inputs of the highest score.

    Attributes:
        rows: the rows with these filled in, shape ``(n, K)``.
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

    rows: Tensor
    scores: Tensor
    agreement: Tensor


def most_probable_inputs(
    network: UGMMNetwork,
    x: Tensor,
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
    leave the bounds end on them.

    Args:
        network: the network.
        x: rows ``(n, K)``; what stands at the inputs asked about does not count.
        bounds: the lowest and the highest value of each of these, by input.
        output: the neuron of the last layer whose score it is.
        n_starts: how many starts for each row.
        steps: how many steps from each.
        seed: for the starts; torch's generator is used, and left alone if given.

    Raises:
        ValueError: if the rows, inputs or bounds do not fit the network.

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
    inputs = list(bounds)
    _check_inputs("bounds", inputs, network.sizes[0])
    _check_rows(network, x, output, inputs)
    check_integer("n_starts", n_starts)
    check_integer("steps", steps)
    pairs = [torch.as_tensor(bounds[i], dtype=x.dtype, device=x.device) for i in inputs]
    fits = all(pair.shape == (2,) for pair in pairs)
    check(fits, "bounds", "(low, high) by input", dict(bounds))
    limits = torch.stack(pairs)
    fits = bool(limits.isfinite().all())
    check(fits and bool((limits[:, 0] < limits[:, 1]).all()), "bounds", "low < high", dict(bounds))
    low, width = limits[:, 0], limits[:, 1] - limits[:, 0]
    rows, at = x.repeat_interleave(n_starts, 0), torch.tensor(inputs, device=x.device)

    def filled(unit: Tensor) -> Tensor:
        return rows.index_copy(1, at, low + width * unit)

    with (
        torch.enable_grad(),
        torch.random.fork_rng(enabled=seed is not None),
        training_mode(network, False),
    ):
        if seed is not None:
            torch.manual_seed(seed)
        unit = torch.rand(len(rows), len(inputs)).to(x).requires_grad_()
        optimizer = torch.optim.Adam([unit], lr=1.0)
        decay = (_LAST_RATE / _PEAK_RATE) ** (1 / steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: _PEAK_RATE * decay**i)
        for _ in itertools.repeat(None, steps):
            score = network(filled(unit))[:, output].sum()
            (unit.grad,) = torch.autograd.grad(score, unit)
            unit.grad.neg_()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                unit.clamp_(0, 1)
        with torch.no_grad():
            found = filled(unit)
            scores = network(found)[:, output].reshape(len(x), n_starts)
    best = scores.max(1)
    agreement = (scores > best.values.unsqueeze(1) - _AGREEMENT).to(x.dtype).mean(1)
    rows = found.reshape(len(x), n_starts, -1)[torch.arange(len(x)), best.indices]
    return BestInputs(rows, best.values, agreement)
