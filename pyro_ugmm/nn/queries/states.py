"""Which states of discrete inputs are how probable."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...checks import check, check_integer
from ..network import UGMMNetwork, check_network
from .arguments import (
    as_index,
    as_inputs,
    as_known_rows,
    as_output,
    as_values,
    fixed_parameters,
)

__all__ = ["StatePosterior", "state_posterior"]

BLOCK_ROWS = 1 << 14  # that are evaluated at once


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
        >>> posterior = state_posterior(network, torch.zeros(5, 3), {0: [0.0, 1.0], 2: [0.0, 1.0]})
        >>> posterior.inputs, torch.allclose(posterior.probabilities.sum((1, 2)), torch.ones(5))
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
        asked = as_index(index, max(self.inputs) + 1)
        check(asked in self.inputs, "index", f"one of the inputs {self.inputs}", index)
        kept = self.inputs.index(asked) + 1
        summed = [dim for dim in range(1, self.log_probabilities.dim()) if dim != kept]
        return self.log_probabilities.logsumexp(summed).exp() if summed else self.probabilities

    @property
    def most_probable(self) -> Tensor:
        """The values of the most probable joint state of each row, shape ``(n, len(inputs))``."""
        at = self.log_probabilities.flatten(1).argmax(1)
        indices = torch.unravel_index(at, self.log_probabilities.shape[1:])
        values = [states[index] for states, index in zip(self.states, indices, strict=True)]
        return torch.stack(values, -1)


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
        >>> posterior = state_posterior(UGMMNetwork([3, 8, 1]), torch.randn(5, 3), states)
        >>> posterior.probabilities.shape, posterior.marginal(2).shape
        (torch.Size([5, 2, 3]), torch.Size([5, 3]))
    """
    check_network(network)
    check(isinstance(states, Mapping) and states, "states", "values by input", states)
    inputs = as_inputs("states", states, network.sizes[0])
    output = as_output(network, output)
    max_states = check_integer("max_states", max_states)
    rows = as_known_rows(network, x, inputs)
    known = rows.values.detach()
    values = tuple(
        as_values("states", f"a list of finite values for input {i}", one, known)
        for i, one in zip(inputs, states.values(), strict=True)
    )
    shape = tuple(len(one) for one in values)
    n_states = math.prod(shape)
    said = f"at most max_states={max_states} joint states"
    check(n_states <= max_states, "states", said, f"{' x '.join(map(str, shape))} = {n_states}")
    joint = torch.cartesian_prod(*values).reshape(n_states, -1)
    scores = _scores(network, known, list(inputs), joint, output)
    lost = scores.isnan().any(-1) | ~scores.isfinite().any(-1)
    expected = f"values that leave the score of some state finite in {known.dtype}"
    rows.check_entries(
        ~lost.unsqueeze(-1).expand_as(known), f"{expected} (standardize the columns)"
    )
    return StatePosterior(inputs, values, scores.log_softmax(-1).reshape(len(known), *shape))


def _scores(
    network: UGMMNetwork, rows: Tensor, inputs: list[int], states: Tensor, output: int
) -> Tensor:
    """Scores every row with every state of its inputs, ``(n, len(states))``, block by block."""
    n_states = len(states)
    scores, parameters = rows.new_empty(len(rows) * n_states), fixed_parameters(network)
    for at in range(0, len(scores), BLOCK_ROWS):
        which = torch.arange(at, min(at + BLOCK_ROWS, len(scores)), device=rows.device)
        filled = rows[which // n_states]
        filled[:, inputs] = states[which % n_states]
        scores[which] = network(filled, parameters)[:, output]
    return scores.reshape(len(rows), n_states)
