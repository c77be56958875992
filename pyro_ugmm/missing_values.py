"""What NaN among values means: the one rule, which is asked wherever values enter."""

from dataclasses import dataclass

from torch import Tensor

from .checks import check_choice

__all__ = ["ALL_OBSERVED", "MissingRule", "mixture_rule", "network_rule"]


@dataclass(frozen=True)
class MissingRule:
    """Whether NaN is an error, or stands for what was not observed.

    Attributes:
        missing: the option as it was chosen: ``"error"``, or the alternative.
        alternative: the option that takes NaN, if there is one.

    Raises:
        ValueError: if it is neither.

    Example:
        >>> import torch
        >>> from pyro_ugmm.missing_values import mixture_rule
        >>> x = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan]])
        >>> mixture_rule("error").valid(x), mixture_rule("marginalize").valid(x)
        (tensor([[ True, False],
                [False, False]]), tensor([[ True,  True],
                [False, False]]))
    """

    missing: str
    alternative: str = ""

    def __post_init__(self) -> None:
        missing = check_choice("missing", self.missing, ("error", self.alternative))
        object.__setattr__(self, "missing", missing)

    @property
    def takes_nan(self) -> bool:
        """Whether NaN stands for what was not observed."""
        return self.missing == self.alternative

    @property
    def expected(self) -> str:
        """What rows have to hold, in words; with the option that would take NaN."""
        if self.takes_nan:
            return "finite values, or NaN in rows of which something was observed"
        hint = f" (missing={self.alternative!r} takes NaN)" if self.alternative else ""
        return f"finite values{hint}"

    @property
    def shown(self) -> str:
        """The option in a representation, where errors need no mention."""
        return f", missing={self.missing!r}" if self.takes_nan else ""

    def valid(self, rows: Tensor) -> Tensor:
        """Which entries of rows ``(..., D)`` are valid; a row needs one that is no NaN."""
        if not self.takes_nan:
            return rows.isfinite()
        is_nan = rows.isnan()
        return rows.isfinite() | (is_nan & ~is_nan.all(-1, keepdim=True))


ALL_OBSERVED = MissingRule("error")
"""The rule of what takes no NaN at all."""


def mixture_rule(missing: str) -> MissingRule:
    """The rule of a mixture, which may integrate out what is missing."""
    return MissingRule(missing, "marginalize")


def network_rule(missing: str) -> MissingRule:
    """The rule of a network, which may leave missing inputs out of its mixtures."""
    return MissingRule(missing, "omit")
