"""What a question to a network is asked with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...checks import check, check_integer
from ...missing_values import network_rule
from ...tables import Table, as_table, as_vector
from ..network import UGMMNetwork

__all__ = ["as_index", "as_inputs", "as_known_rows", "as_output", "as_values", "fixed_parameters"]


def as_index(value: Any, size: int) -> int:
    """Returns an index below ``size`` as an ``int``; -1 for what is none."""
    try:
        index = check_integer("index", value, minimum=0)
    except ValueError:
        return -1
    return index if index < size else -1


def as_inputs(name: str, asked: Any, n_inputs: int) -> tuple[int, ...]:
    """Returns the inputs asked about, as ``int``."""
    inputs = tuple(as_index(i, n_inputs) for i in asked)
    fits = min(inputs) >= 0 and len(set(inputs)) == len(inputs)
    check(fits, name, f"different inputs of 0 to {n_inputs - 1}", list(asked))
    return inputs


def as_output(network: UGMMNetwork, output: Any) -> int:
    """Returns the neuron of the last layer that is asked about, as ``int``."""
    n_outputs = network.sizes[-1]
    neuron = as_index(output, n_outputs)
    check(neuron >= 0, "output", f"one of 0 to {n_outputs - 1}", output)
    return neuron


def as_known_rows(network: UGMMNetwork, x: Any, asked: Sequence[int]) -> Table:
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


def as_values(name: str, expected: str, values: Any, like: Tensor) -> Tensor:
    """Returns numbers as a vector like another tensor, finite and as different as they came."""
    try:
        given = as_vector(name, values)
    except ValueError:
        given = torch.empty(0)
    fits = given.dim() == 1 and len(given) > 0 and not given.is_complex()
    check(fits, name, expected, repr(values))
    vector = given.to(like.dtype)
    expected = f"{expected} that {like.dtype} can tell apart"
    fits = bool(vector.isfinite().all()) and len(vector.unique()) == len(given.unique())
    check(fits, name, expected, repr(values))
    return vector.to(like.device)


def fixed_parameters(network: UGMMNetwork) -> dict[str, Tensor]:
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
