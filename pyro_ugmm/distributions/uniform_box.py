"""The uniform distribution over a box."""

from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_same_kind, check_values
from ..tables import as_table

__all__ = ["UniformBox"]


class UniformBox(dist.TorchDistribution):
    r"""The uniform distribution over a box, its faces included.

    .. math:: p(x) = \prod_d \frac{1}{b_d - a_d} \quad \text{for } a \le x \le b

    NaN entries of a row are integrated out.

    Args:
        low: :math:`a`, shape ``(D,)``.
        high: :math:`b`, likewise.

    Raises:
        ValueError: if shapes, dtypes or devices differ, or a side has no positive finite length.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import UniformBox
        >>> box = UniformBox.around(torch.tensor([[0.0, 1.0], [2.0, 5.0], [1.0, 2.0]]))
        >>> box
        UniformBox(low=[0, 1], high=[2, 5])
        >>> box.log_prob(torch.tensor([[2.0, 5.0], [2.0, 6.0]])).exp()
        tensor([0.1250, 0.0000])
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, low: Tensor, high: Tensor) -> None:
        check_same_kind({"low": low, "high": high})
        shape = tuple(low.shape)
        check(len(shape) == 1 and shape[0], "low", "shape (D,)", shape)
        check(high.shape == low.shape, "high", f"shape {shape}, as low has", tuple(high.shape))
        width = high - low
        check_values("high", width, (width > 0) & width.isfinite(), "values above low, by a width")
        self.low, self.high = low, high
        super().__init__(torch.Size(), low.shape, validate_args=False)

    @classmethod
    def around(cls, x: Any) -> Self:
        """Returns the smallest box around rows ``(n, D)``, of which entries may be NaN.

        Raises:
            ValueError: if a column is constant, infinite, or not observed.
        """
        table = as_table("x", x)
        rows = table.values.detach()
        is_nan = rows.isnan()
        table.check_observed()
        low = rows.masked_fill(is_nan, torch.inf).amin(0)
        high = rows.masked_fill(is_nan, -torch.inf).amax(0)
        for column, width in enumerate((high - low).tolist()):
            is_one = 0 < width < torch.inf
            expected = (
                "rows that spread in each column, as the box around them has a volume (leave the "
                "column out, or give a distribution with bounds of its own)"
            )
            got = f"column {table.column(column)} from {low[column]:g} to {high[column]:g}"
            check(is_one, "x", expected, got)
        return cls(low, high)

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        new = self._get_checked_instance(type(self), _instance)
        new.low, new.high = self.low, self.high
        shape = torch.Size(batch_shape)
        dist.TorchDistribution.__init__(new, shape, self.event_shape, validate_args=False)
        return new

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Returns it on another device or in another dtype, as tensors' ``to`` does."""
        return type(self)(self.low.to(*args, **kwargs), self.high.to(*args, **kwargs))

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``; outside, it is minus infinity."""
        is_nan = value.isnan()
        is_inside = (((value >= self.low) & (value <= self.high)) | is_nan).all(-1)
        log_volume = torch.where(is_nan, 0, (self.high - self.low).log()).sum(-1)
        return torch.where(is_inside, -log_volume, -torch.inf)

    @torch.no_grad()
    def sample(self, sample_shape=()) -> Tensor:
        """Draws rows, ``sample_shape + batch_shape + (D,)``."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        uniform = torch.rand(shape, dtype=self.low.dtype, device=self.low.device)
        return self.low + uniform * (self.high - self.low)

    def __repr__(self) -> str:
        shown = [", ".join(f"{v:.4g}" for v in part.tolist()) for part in (self.low, self.high)]
        return f"{type(self).__name__}(low=[{shown[0]}], high=[{shown[1]}])"
