"""Where rows may be, given what NaN among them means."""

from torch import Tensor
from torch.distributions import constraints

from ..missing_values import mixture_rule

__all__ = ["support_of_rows"]


class _PartlyObserved(constraints.Constraint):
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return mixture_rule("marginalize").valid(value).all(-1)


def support_of_rows(missing: str) -> constraints.Constraint:
    """Real vectors, with NaN for missing entries where these are marginalized."""
    return _PartlyObserved() if mixture_rule(missing).takes_nan else constraints.real_vector
