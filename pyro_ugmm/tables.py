"""Rows of data as users hold them: tensors, arrays, masked arrays, data frames.

This is the one door by which rows enter. Behind it they are tensors of floating-point numbers, with
NaN for what is masked or null, and the names of the columns for messages.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .checks import check, check_same_kind
from .missing_values import MissingRule
from .tracking import is_recorded, known_to_hold

__all__ = ["Table", "as_labels", "as_table", "as_vector"]

_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # with which torch hardly computes

_FLOATS = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}
# What rounding may move a value by, in standard deviations of its column.
_MOST_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Table:
    """Rows, and what is known of where they came from.

    Attributes:
        name: what the caller called them.
        values: shape ``(n, D)``, or any other that a tensor or array had.
        columns: the names of the columns, of a data frame.
        is_tensor: whether they came as a tensor, whose dtype nobody changes.
        frame: the data frame, whose kind comes back.
    """

    name: str
    values: Tensor
    columns: tuple[str, ...] | None = None
    is_tensor: bool = False
    frame: Any = None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of the columns, unless a data frame's are numbers only."""
        columns = self.columns or ()
        return None if all(name.isdecimal() for name in columns) else self.columns

    def column(self, index: int) -> str:
        """A column in words: its number, and its name if it has one."""
        return str(index) if self.columns is None else f"{index} ({self.columns[index]!r})"

    def place(self, index: Sequence[int], first_row: int = 0) -> str:
        """Where an entry is, in words."""
        if len(index) == 2:
            return f" in row {first_row + index[0]}, column {self.column(index[1])}"
        return f" at index {tuple(index)}" if index else ""

    def check_entries(
        self, valid: Tensor, expected: str, first_row: int = 0, got: str | None = None
    ) -> None:
        """Raises a ``ValueError`` that counts and locates the entries that are not valid."""
        if is_recorded() or known_to_hold(valid):
            return
        at = (~valid).nonzero()[0].tolist()
        value = self.values.detach()[tuple(at)].item() if got is None else got
        count = f" ({int((~valid).sum())} of {valid.numel()} values are invalid)"
        where = self.place(at, first_row)
        raise ValueError(f"{self.name}: expected {expected}, got {value}{where}{count}")

    def check_finite(self, missing: MissingRule | None = None) -> None:
        """Checks that all entries are finite, or missing where a rule takes NaN."""
        values = self.values.detach()
        if is_recorded() or known_to_hold(values.sum().abs() < math.inf):  # one quick look at many
            return
        valid = values.isfinite() if missing is None else missing.valid(values)
        self.check_entries(valid, "finite values" if missing is None else missing.expected)

    def check_observed(self, seen: Tensor | None = None, where: str = "") -> None:
        """Checks that something was observed of every column; ``seen`` says of which, ``(D,)``."""
        seen = (~self.values.isnan()).any(0) if seen is None else seen
        if not seen.all():
            column = self.column(int((~seen).nonzero()[0]))
            expected = f"{self.name}: expected columns of which something was observed"
            raise ValueError(f"{expected}, got none but NaN in column {column}{where}")

    def like(self, whose: str, tensor: Tensor) -> Self:
        """Returns the rows in another tensor's dtype and on its device.

        A tensor has to be of that kind already; what came as anything else is converted, if that
        leaves the rows apart that were apart.

        Args:
            whose: whose tensor it is, in words.
            tensor: the other.
        """
        if self.is_tensor:
            check_same_kind({whose: tensor, self.name: self.values})
            return self
        values = self.values.to(tensor.dtype)
        narrows = torch.promote_types(values.dtype, self.values.dtype) != values.dtype
        if narrows and values.dim() == 2 and len(values):
            self._check_rounding(values)
        return replace(self, values=values.to(tensor.device))

    def _check_rounding(self, rounded: Tensor) -> None:
        exact = self.values
        spread = _spread(exact)
        moved = (rounded.double() - exact).abs()
        valid = (moved <= _MOST_ROUNDING * spread) | (moved == 0) | ~exact.isfinite()
        expected = (
            f"values that {rounded.dtype} can hold and tell apart (standardize the columns, or "
            f"work in {exact.dtype})"
        )
        self.check_entries(valid, expected)

    def restored(self, values: Tensor) -> Any:
        """Returns new values of the same rows as they came: a frame for a frame, else a tensor."""
        if self.frame is None:
            return values
        array = values.detach().cpu().numpy()
        return type(self.frame)(array, columns=self.frame.columns, index=self.frame.index)


def _spread(values: Tensor) -> Tensor:
    """The standard deviation of what is finite of each column."""
    seen = values.isfinite()
    count = seen.sum(0).clamp(min=1)
    center = torch.where(seen, values, 0).sum(0) / count
    squares = torch.where(seen, values - center, 0).square().sum(0)
    spread = (squares / count).sqrt()
    return torch.where(spread > 0, spread, center.abs())


def as_table(name: str, x: Any) -> Table:
    """Takes rows of any kind.

    Floating-point numbers stay in their precision; integers and truth values become float64, and
    so does half precision become float32. What is masked or null becomes NaN.

    Args:
        name: what the caller calls them.
        x: a tensor, an array, a masked array, a data frame, or nested lists of numbers; what was
            taken before, and has its name, comes back.

    Raises:
        ValueError: if something in it is no number, or one that float64 cannot hold; it names the
            column.
    """
    if isinstance(x, Table):
        return x
    if isinstance(x, Tensor):
        check(not x.is_nested, name, "a dense tensor", "a nested one")
        check(x.layout == torch.strided, name, "a dense tensor", x.layout)
        expected = "floating-point numbers (convert with .to(torch.get_default_dtype()))"
        check(x.is_floating_point(), name, expected, x.dtype)
        return Table(name, x, is_tensor=True)
    got = type(x).__name__
    check(not hasattr(x, "toarray"), name, "a dense tensor or array", f"a sparse {got}")
    if _is_frame(x):
        return _from_frame(name, x)
    return Table(name, torch.from_numpy(_floats(name, _as_array(name, x))))


def as_vector(name: str, value: Any) -> Tensor:
    """Takes one number for each row, such as weights or labels, in whatever holds them.

    Raises:
        ValueError: if something in it is masked, null, or no number.
    """
    if isinstance(value, Tensor):
        check(not value.is_complex(), name, "a tensor or an array of numbers", value.dtype)
        return _signed(name, value.detach())
    array = _as_array(name, value)
    if isinstance(array, np.ma.MaskedArray):
        count = int(np.ma.count_masked(array))
        check(not count, name, "no masked entries", f"{count} masked")
        array = array.data
    if array.dtype == object:  # what pandas gives for nullable numbers
        numbers = _floats(name, array)
        nulls = np.argwhere(np.isnan(numbers)).tolist()
        check(not nulls, name, "no missing entries", f"null at index {tuple(*nulls[:1])}")
        is_whole = all(isinstance(value, Integral) for value in array.flat)
        array = array.astype(np.int64) if is_whole else numbers
    is_number = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
    check(is_number, name, "a tensor or an array of numbers", f"an array of {array.dtype}")
    return _signed(name, torch.from_numpy(_native(array)))


def _signed(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in _UNSIGNED:
        return tensor
    signed = tensor.long()
    check((signed >= 0).all(), name, "integers that int64 can hold", "one that is larger")
    return signed


def as_labels(name: str, value: Any) -> Tensor:
    """Takes a number for each row that says which class or component it is of.

    Raises:
        ValueError: if there are names among them, or something is masked, missing or no number.
    """
    if isinstance(value, Tensor):
        return as_vector(name, value)
    array = _as_array(name, value)
    texts = (text for text in array.flat if isinstance(text, str))
    text = next(texts, None) if array.dtype.kind in "OSU" else None
    expected = "integer labels (pandas.factorize makes them of names)"
    check(text is None, name, expected, repr(text and str(text)))
    labels = as_vector(name, value)
    if labels.is_floating_point() and labels.isnan().any():
        index = tuple(labels.isnan().nonzero()[0].tolist())
        check(False, name, "no missing entries", f"NaN at index {index}")
    return labels


def _native(array: np.ndarray) -> np.ndarray:
    """The array, or a copy where torch could not share its memory: foreign order, not writable."""
    shares = array.flags.writeable and array.dtype.isnative and min(array.strides, default=0) >= 0
    return array if shares else np.array(array, dtype=array.dtype.newbyteorder("="))


def _as_array(name: str, x: Any) -> np.ndarray:
    try:
        return _stacked(x)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name}: expected rows of numbers, got {error}") from None


def _stacked(x: Any) -> np.ndarray:
    """Makes an array of nested lists; one with a mask, if something in them is masked."""
    if isinstance(x, np.ndarray):  # masked arrays are ones, too
        return x
    is_masked = isinstance(x, list | tuple) and any(map(_holds_masked, x))
    return np.ma.stack([_stacked(part) for part in x]) if is_masked else np.asarray(x)


def _holds_masked(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return any(map(_holds_masked, x))
    return isinstance(x, np.ma.MaskedArray)


def _floats(name: str, array: np.ndarray, column: str = "") -> np.ndarray:
    """Turns numbers of any kind into float32 or float64, with NaN for what is masked or null."""
    masked = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
    array = np.asarray(array)
    where = f" in column {column}" if column else ""
    expected = "numbers that float64 can hold"
    if array.dtype == object:
        array = _from_objects(name, array, where)
    kind = array.dtype.newbyteorder("=")
    if kind in _FLOATS:
        numbers = array
    else:
        check(array.dtype.kind in "biuf", name, "numbers", f"{array.dtype}{where}")
        numbers = array.astype(np.float32 if kind == np.float16 else np.float64)
        if kind != np.float16 and array.dtype.kind != "b":
            with np.errstate(invalid="ignore"):  # float64 rounds the largest integers up
                same = (numbers.astype(array.dtype) == array) | (array != array)
            got = "" if same.all() else f"{array[~same][0]} of {array.dtype}{where}"
            check(same.all(), name, expected, got)
    if masked is not None:
        numbers = np.where(masked, np.nan, numbers).astype(numbers.dtype)
    return _native(numbers)


def _from_objects(name: str, array: np.ndarray, where: str) -> np.ndarray:
    """Reads an array of Python objects, of which each is a number or null."""
    numbers = np.empty(array.shape)
    for index, value in np.ndenumerate(array):
        is_null = value is None or type(value).__name__ in ("NAType", "NaTType")
        try:
            valid = is_null or not isinstance(value, str | bytes | complex)
            numbers[index] = np.nan if is_null else float(value)
        except (TypeError, ValueError, OverflowError):
            valid = False
        check(valid, name, "numbers", f"{value!r}{where or f' at index {index}'}")
    return numbers


def _is_frame(x: Any) -> bool:
    return hasattr(x, "columns") and hasattr(x, "__getitem__") and hasattr(x, "shape")


def _from_frame(name: str, frame: Any) -> Table:
    names = tuple(map(str, frame.columns))
    is_pandas = hasattr(frame, "iloc")
    columns = [
        _column(name, frame.iloc[:, i] if is_pandas else frame[frame.columns[i]], repr(column))
        for i, column in enumerate(names)
    ]
    check(columns, name, "a data frame with columns", "one without")
    values = torch.from_numpy(np.stack(columns, -1))
    return Table(name, values, names, frame=frame if is_pandas else None)


def _column(name: str, series: Any, column: str) -> np.ndarray:
    """One column of a frame; nullable numbers, and categories that are numbers, count as these."""
    dtype = str(getattr(series, "dtype", ""))
    if dtype == "category":
        kinds = series.cat.categories
        got = f"categories {[*kinds][:3]} in column {column} (leave it out, or encode it)"
        check(getattr(kinds, "dtype", np.dtype(object)).kind in "biuf", name, "numbers", got)
        series = series.astype(kinds.dtype if not series.isna().any() else float)
    array = series.to_numpy() if hasattr(series, "to_numpy") else np.asarray(series)
    return _floats(name, array, column)
