"""The table that the demo is about: Iris, or a file of the user's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checks import check
from ..datasets import iris
from ..standardization import center_and_spread

__all__ = ["DemoTable", "iris_table", "read_table"]

_MOST_CLASSES = 20
_FEWEST_ROWS = 20


@dataclass(frozen=True)
class DemoTable:
    """Features, and what is to be predicted from them.

    Attributes:
        name: of the table.
        x: features, shape ``(n, K)``; NaN where one was not observed.
        y: integer labels, or continuous targets, shape ``(n,)``.
        feature_names: of the features.
        target: the name of ``y``.
        class_names: of the labels; none of continuous targets.
        notes: what was left out, in words.
    """

    name: str
    x: Tensor
    y: Tensor
    feature_names: list[str]
    target: str
    class_names: list[str]
    notes: tuple[str, ...] = ()

    @property
    def frame(self) -> Any:
        """The features with their names, in double precision."""
        import pandas

        return pandas.DataFrame(self.x.double().numpy(), columns=self.feature_names)

    @property
    def missing(self) -> str:
        """How mixtures take the features: NaN is marginalized over, if there is any."""
        return "marginalize" if bool(self.x.isnan().any()) else "error"

    def standardized(self, like: Tensor) -> Tensor:
        """The features, in units of some of the rows."""
        center, spread = center_and_spread(self.x[like], omit_missing=True)
        return (self.x - center) / spread

    def __str__(self) -> str:
        counts = self.y.bincount().tolist() if self.class_names else []
        classes = [f"{name} {n}" for name, n in zip(self.class_names, counts, strict=True)]
        about = f"{self.target}: {', '.join(classes) or 'continuous'}"
        shape = f"{len(self.x):,} rows, {len(self.feature_names)} features"
        return "\n".join([f"{self.name}: {shape}; {about}", *self.notes])


def iris_table() -> DemoTable:
    """Fisher's Iris."""
    x, y, feature_names, class_names = iris()
    names = [f"{name} (cm)" for name in feature_names]
    return DemoTable("Iris", x, y, names, "species", class_names)


def read_table(path: Path, target: str) -> DemoTable:
    """Reads a file of comma-separated values.

    Columns that hold no numbers, nothing but one, or the numbers of rows are left out of the
    features, and rows without a target. A target of words, of truth values, or of at most twenty
    different whole numbers is a label.

    Raises:
        ValueError: if there is no such file or column, or too little in it.
    """
    import pandas

    check(path.is_file(), "--data", "a file of comma-separated values", str(path))
    frame = pandas.read_csv(path)
    check(target in frame.columns, "--target", f"a column of {list(frame.columns)}", target)
    known = frame[frame[target].notna()].reset_index(drop=True)
    expected = f"at least {_FEWEST_ROWS} rows with a target"
    check(len(known) >= _FEWEST_ROWS, "--data", expected, len(known))
    columns = known.drop(columns=target)
    numbers = columns.select_dtypes(["number", "bool"]).astype("float32")
    numbers = numbers.loc[:, numbers.nunique() > 1]
    of_rows = _row_numbers(frame.drop(columns=target))
    numbers = numbers[[name for name in numbers.columns if name not in of_rows]]
    expected = "at least two columns of numbers beside the target"
    check(numbers.shape[1] > 1, "--data", expected, numbers.shape[1])
    y, class_names = _targets(known[target])
    left_out = [str(name) for name in columns.columns if name not in numbers.columns]
    notes = [
        f"left out, as they hold no numbers, only one, or number the rows: {', '.join(left_out)}"
    ]
    n_gone, n_missing = len(frame) - len(known), int(numbers.isna().sum().sum())
    said = (
        *(notes if left_out else []),
        *([f"left out, as they have no target: {n_gone} rows"] if n_gone else []),
        *([f"missing: {n_missing} of {numbers.size} features"] if n_missing else []),
    )
    x = torch.as_tensor(numbers.to_numpy(copy=True))
    return DemoTable(path.name, x, y, [*map(str, numbers.columns)], target, class_names, said)


def _row_numbers(columns: Any) -> list[Any]:
    """Columns that number the rows, in any order, such as patients' numbers."""
    import pandas

    return [
        name
        for name, column in columns.items()
        if pandas.api.types.is_integer_dtype(column)
        and column.nunique() == len(column) == column.max() - column.min() + 1
    ]


def _targets(column: Any) -> tuple[Tensor, list[str]]:
    """Labels with the names of classes, or numbers without."""
    import pandas

    is_number = pandas.api.types.is_numeric_dtype(column) and column.dtype != bool
    is_whole = is_number and bool((column % 1 == 0).all())
    if is_number and not (is_whole and column.nunique() <= _MOST_CLASSES):
        check(column.nunique() > 1, "--target", "a column that is not constant", column.name)
        return torch.as_tensor(column.to_numpy("float32", copy=True)), []
    codes, names = pandas.factorize(column, sort=True)
    expected = f"a column of 2 to {_MOST_CLASSES} classes, or of numbers"
    check(2 <= len(names) <= _MOST_CLASSES, "--target", expected, f"{len(names)} classes")
    return torch.as_tensor(codes.copy(), dtype=torch.long), [*map(str, names)]
