"""Pages from the templates in `tfrcp/templates`, each one HTML file that works offline."""

from __future__ import annotations

import base64
import functools
from typing import Any

import jinja2

from tfrcp.units import duration


def render(template: str, **context: Any) -> str:
    """Fills in a template.

    Args:
        template: Name of a file in `tfrcp/templates`.
        **context: What it shows: `title`, and what else the file names. All text is escaped.
    """
    return _environment().get_template(template).render(context)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfrcp"),
        autoescape=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
    )
    environment.filters |= {
        "base64": lambda content: base64.b64encode(content).decode(),
        "duration": duration,
        # Of a negative number, which a table would break after a hyphen.
        "minus": lambda text: f"\N{MINUS SIGN}{text[1:]}" if text[:1] == "-" else text,
    }
    return environment
