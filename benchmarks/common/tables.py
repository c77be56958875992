"""Tables in Markdown."""

from collections.abc import Sequence

__all__ = ["table"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; columns are of numbers where they have a header."""
    rule = ["---:" if name else ":---" for name in header]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]
