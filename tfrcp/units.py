"""Numbers as text, each with its unit and no more digits than a reader needs."""

from __future__ import annotations

from collections.abc import Sequence


def percent(fraction: float) -> str:
    """0.9812 -> `98.1 %`."""
    return f"{100 * fraction:.1f} %"


def score(value: float, is_share: bool) -> str:
    """A share in percent, any other score with four digits."""
    return percent(value) if is_share else f"{value:.4g}"


def points(difference: float) -> str:
    """A difference of two accuracies in percentage points: -0.0034 -> `-0.3 points`."""
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f} points" if rounded else "0.0 points"


def count(number: float) -> str:
    """40813184 -> `40.8 M`; k, M, G and T are 1e3, 1e6, 1e9 and 1e12."""
    return _scaled(number, ("", "k", "M", "G", "T"))


def size(number: float) -> str:
    """1234567 bytes -> `1.23 MB`; 1 kB is 1000 bytes."""
    return _scaled(number, ("B", "kB", "MB", "GB", "TB"))


def duration(seconds: float) -> str:
    """71.2 -> `71.2 s`, 671.2 -> `11 min 11 s`, 7512 -> `2 h 5 min`."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60} min"


def _scaled(number: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(number) >= 999.5 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {units[power]}".rstrip()


def plural(number: int, noun: str) -> str:
    """1 -> `1 epoch`, 1000 -> `1,000 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines with aligned columns, the first one ruled off as a head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
