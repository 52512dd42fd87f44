"""Percentiles and plain tables."""

from collections.abc import Sequence

Row = Sequence[object]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def latency_row(name: str, seconds: Sequence[float], goal: str = "") -> Row:
    """Return count, p50, p99 and the worst, in milliseconds."""
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    figures = [f"{1000 * each:.2f}" for each in (min(seconds), p50, p99, max(seconds))]
    return [name, len(seconds), *figures, goal]


LATENCY_HEAD = ("what", "n", "least ms", "p50 ms", "p99 ms", "most ms", "goal")


def show(title: str, head: Row, rows: Sequence[Row]) -> None:
    """Print one table."""
    short = [[str(cell) for cell in row] for row in (head, *rows)]
    lines = [row + [""] * (len(head) - len(row)) for row in short]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for line in lines:
        cells = [
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip(), flush=True)
