"""Data that enter a program: turned to tensors, and checked, once."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..checks import check
from ..nn import UGMMNetwork
from ..tables import as_table, as_vector
from .names import Names
from .parameters import argument_names, misfit, signature_of
from .traced import Rows

__all__ = [
    "ChecksData",
    "as_entered",
    "by_name",
    "check_program",
    "device_of",
    "enter",
    "enter_observed",
    "unchecked",
]


@runtime_checkable
class ChecksData(Protocol):
    """A model that says which data fit it; called, it checks them, and ``forward`` does not.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> from pyro_ugmm.programs.entry import ChecksData
        >>> model = BayesianGaussianMixture(2, 1)
        >>> isinstance(model, ChecksData), model.check_data([[0.0], [1.0]])[0].shape
        (True, torch.Size([2, 1]))
    """

    def check_data(self, x: Any, y: Any = None) -> Rows:
        """Checks data, and returns them as tensors like the model's."""

    def forward(self, *rows: Tensor, size: int | None = None) -> Any:
        """Runs the program on data that were checked."""


def check_program(model: Any) -> None:
    """Checks that ``model`` can be a Pyro program: no network, class or guide.

    Raises:
        ValueError: if it is none.
    """
    expected = "a Pyro model, such as UGMMClassifier(network), or a function"
    is_one = callable(model) and not isinstance(model, UGMMNetwork | type)
    is_guide = hasattr(model, "prototype_trace")
    check(is_one and not is_guide, "model", expected, type(model).__name__)


def unchecked(model: Callable) -> Callable:
    """The program of a model, for data that have entered it."""
    return model.forward if isinstance(model, ChecksData) else model


def device_of(model: Any) -> torch.device:
    """Where a model is; the CPU, if it holds no tensor."""
    held = itertools.chain(model.buffers(), model.parameters()) if _is_module(model) else ()
    return next((tensor.device for tensor in held), torch.device("cpu"))


def _is_module(model: Any) -> bool:
    return isinstance(model, torch.nn.Module)


def enter(model: Callable, x: Any, y: Any = None) -> Rows:
    """Takes rows, and labels or targets if there are some, as a model takes them.

    The tensors carry no graph, nor the mark of inference mode.

    Args:
        model: the model.
        x: rows; or, in a dictionary, all of the model's arguments by name, whatever they are.
        y: labels or targets.

    Raises:
        ValueError: if they do not fit the model.
    """
    if isinstance(x, Mapping):
        check(y is None, "y", "all data in the dictionary x", type(y).__name__)
        rows = _bound(model, x)
        rows = model.check_data(*rows) if isinstance(model, ChecksData) else rows
    elif isinstance(model, ChecksData):
        rows = model.check_data(x, y)
        shape, is_label = tuple(rows[-1].shape), not rows[-1].is_floating_point()
        check(y is None or not is_label or len(shape) == 1, "y", "shape (n,)", shape)
    else:
        rows = _tensors(x, y)
        _check_positions(model, rows)
    return tuple(_plain(part) for part in rows)


def enter_observed(model: Callable, x: Any, y: Any, expected: str) -> Rows:
    """Takes rows as :func:`enter` does, which are to hold what is observed.

    Raises:
        ValueError: if they do not; it is ``expected``. Of a plain program its trace tells.
    """
    rows = enter(model, x, y)
    if isinstance(model, Names):
        for name, value in model.observed_rows(*rows).values.items():
            check(value is not None, name, expected, "None")
    return rows


def as_entered(model: Callable, rows: Rows) -> tuple:
    """Data that entered, as they would again: ``x`` and ``y``, or a dictionary of arguments."""
    if isinstance(model, ChecksData) or (
        0 < len(rows) < 3 and all(isinstance(part, Tensor) and part.dim() for part in rows)
    ):
        return rows
    return (by_name(model, rows),)


def by_name(model: Callable, rows: Rows) -> dict[str, Any]:
    """Data that entered, by the names of the model's arguments."""
    return dict(zip(argument_names(model), rows, strict=False))


def _bound(model: Callable, data: Mapping[str, Any]) -> Rows:
    """A model's arguments in their order, of which arrays and lists become tensors."""
    signature = signature_of(model)
    check(signature is not None, "x", "rows, as the model's arguments have no names", "a mapping")
    assert signature is not None
    try:
        bound = signature.bind(**{name: _argument(name, value) for name, value in data.items()})
    except TypeError as error:
        expected = f"a dictionary of the model's arguments {[*signature.parameters]}"
        raise ValueError(f"x: expected {expected}, got {[*data]}: {error}") from None
    count = 1 + max(([*signature.parameters].index(name) for name in bound.arguments), default=-1)
    bound.apply_defaults()
    keywords = [name for name in bound.kwargs if name in data]
    expected = (
        "arguments that can be given by position (functools.partial(model, name=...) for what is "
        "fixed, a function such as lambda x, y: model(x, y=y) for data)"
    )
    check(not keywords, "x", expected, f"{keywords} by name alone")
    return bound.args[:count]


def _check_positions(model: Callable, rows: Rows) -> None:
    """Checks that a model can be called with ``x``, or with ``x`` and ``y``, by position."""
    reason, given = misfit(model, len(rows)), " and ".join(("x", "y")[: len(rows)])
    expected = f"one that is called with {given} (other arguments by name, in a dictionary x)"
    check(reason is None, "model", expected, f"arguments {argument_names(model)}: {reason}")


def _argument(name: str, value: Any) -> Any:
    if hasattr(value, "columns"):
        return _numbers(as_table(name, value).values)
    is_array = isinstance(value, list | tuple) or hasattr(value, "__array__")
    return _numbers(as_vector(name, value)) if is_array and not isinstance(value, Tensor) else value


def _tensors(x: Any, y: Any) -> Rows:
    """Tensors as they are, everything else in torch's default dtype."""
    x = x if isinstance(x, Tensor) else _numbers(as_table("x", x).values)
    rows = (x,) if y is None else (x, y if isinstance(y, Tensor) else _numbers(as_vector("y", y)))
    for name, part in zip(("x", "y"), rows, strict=False):
        check(part.dim() > 0 and len(part), name, "at least one row", tuple(part.shape))
    expected = f"{len(x)} rows, as x has"
    check(len(rows[-1]) == len(x), "y", expected, f"shape {tuple(rows[-1].shape)}")
    return rows


def _numbers(values: Tensor) -> Tensor:
    return values.to(torch.get_default_dtype()) if values.is_floating_point() else values


def _plain(tensor: Any) -> Any:
    if not isinstance(tensor, Tensor):
        return tensor
    tensor = tensor.detach()
    return tensor.clone() if tensor.is_inference() else tensor
