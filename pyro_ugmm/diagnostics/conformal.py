"""How wide intervals must be to hold as many rows as they should, by rows held back."""

import math

from torch import Tensor

from ..checks import check

__all__ = ["conformal_tail"]


def conformal_tail(tails: Tensor, coverage: float) -> Tensor:
    r"""Returns the probability beyond either end of intervals that hold a share of new rows.

    .. math:: t_{(\lceil (m + 1) c \rceil)}, \qquad
        t_i = \min\{F(y_i \mid x_i), 1 - F(y_i \mid x_i)\}

    in descending order. The central interval with :math:`t_i` beyond either end is the narrowest
    that holds row :math:`i`. If rows are exchangeable, a new one lies within that of the result
    with a probability between :math:`c` and :math:`c + 1 / (m + 1)`, whatever the predictive.

    Source: Chernozhukov, Wüthrich and Zhu (2021), *Distributional conformal prediction*,
    PNAS 118(48).

    Args:
        tails: of rows that the predictive was not fitted to, shape ``(m, ...)``.
        coverage: the share of rows to hold, :math:`c`.

    Returns:
        Probabilities, shape ``(...)``.

    Raises:
        ValueError: if there are too few rows to say.
    """
    slack = 1e-9  # 10 * 0.9 may be more than 9 in floating point
    fewest = math.ceil(coverage / (1 - coverage) - slack)
    expected = f"at least {fewest} rows, for a coverage of {coverage:g}"
    check(len(tails) >= fewest, "calibration", expected, len(tails))
    rank = math.ceil((len(tails) + 1) * coverage - slack)
    return tails.sort(0, descending=True).values[rank - 1]
