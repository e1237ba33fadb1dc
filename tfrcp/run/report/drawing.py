"""What the pictures of a report have in common: colours, type, axes, and the way to a PNG.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tfrcp.run.report.reading import Metrics

BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#222222"
PALE_BLUE, PALE, GREY = "#8FBFDD", "#E6E6E6", "#8A8A8A"
WIDTH = 6.6  # Inches; the page shows an inch as 110 pixels where it has room.
STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titlepad": 9.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "text.color": BLACK,
    "text.parse_math": False,  # A dollar sign in a layer's name is a dollar sign.
    "savefig.dpi": 200,
}


def png(draw: Callable[[Metrics], Figure | None], metrics: Metrics) -> bytes | None:
    """Draws one picture in the style of the report, whatever the user's Matplotlib settings."""
    with matplotlib.style.context(["default", STYLE]):
        figure = draw(metrics)
        if figure is None:
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()


def percent_ticks() -> FuncFormatter:
    """Tick labels for fractions: 0.4975 -> `49.75 %`."""
    return FuncFormatter(lambda value, _: f"{100 * value:.4g} %")


def limits(values: Any, margin: float = 0.06) -> tuple[float, float]:
    """Limits of an axis with some room around all values, even if they are all the same."""
    low, high = float(np.min(values)), float(np.max(values))
    room = margin * (high - low) or 0.02 * abs(low) or 1.0
    return low - room, high + room
