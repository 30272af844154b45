"""Fills templates of pages and cards."""

from __future__ import annotations

import re
from typing import Any

import jinja2
from markupsafe import Markup
from markupsafe import escape

from tfx_pipeline.evaluation.measured import Measured

_TICKED = re.compile(r"`([^`]+)`")


def render(template: str, **values: Any) -> str:
    """Returns a template with values, in which markup is escaped where it is a page."""
    return _environment().get_template(template).render(script=_script, **values)


def _script() -> Markup:
    """Returns the script that draws the plots, to stand in a page."""
    import vl_convert
    from altair import SCHEMA_VERSION

    version = ".".join(SCHEMA_VERSION.lstrip("v").split(".")[:2])
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    return Markup(bundle.replace("</script", "<\\/script"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_pipeline.report"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "interval": interval_text,
        "measured": _measured,
        "number": _number,
        "ticked": _ticked,
    }
    return environment


def _measured(one: Any) -> str:
    """Writes a value with its interval; nothing for what has none."""
    if not isinstance(one, Measured):
        return ""
    interval = "" if one.low is None else f" ({interval_text(one)})"
    return f"{_number(one.value)}{interval}"


def interval_text(one: Measured) -> str:
    """Writes both ends of an interval; nothing for what has none."""
    return " to ".join(_decimal(end) for end in (one.low, one.high) if end is not None)


def _decimal(value: float) -> str:
    """Writes four decimals, and no sign before zeros."""
    return f"{round(value, 4) + 0.0:.4f}"


def _ticked(text: Any) -> Markup:
    """Returns text as a part of a page, with what stands in backticks as code."""
    return Markup(_TICKED.sub(r"<code>\1</code>", str(escape(text))))


def _number(value: Any) -> str:
    """Writes a number as people read it, anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer():
        return f"{value + 0.0:,.0f}"
    return _decimal(value) if abs(value) < 100 else f"{value:,.1f}"
