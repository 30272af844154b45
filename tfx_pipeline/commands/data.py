"""`vitrine data`: event logs, made and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx_pipeline.config_file import parse_yaml


def prepare_log(
    source: str, out: Path | None, location: str | None, options: tuple[str, ...], overwrite: bool
) -> str:
    """Turns a named source into an event log and says what it holds.

    Args:
        source: Name of the source.
        out: Directory to write; `data/<source>` when not given.
        location: Where the source's files are, when not in the usual places.
        options: `key=value` pairs for the source.
        overwrite: Whether an event log that is there may be replaced.

    Returns:
        One paragraph for the user.

    Raises:
        ValueError: An unknown source or option, or data that cannot be read.
    """
    from tfx_pipeline.datasets.registry import prepare

    values = dict(map(_parse, options))
    out = out or Path("data") / source
    manifest = prepare(source, out, source=location, overwrite=overwrite, **values)
    entities = ", ".join(f"{count:,} {kind}" for kind, count in manifest.entities.items())
    return (
        f"{out}: {manifest.events:,} events of {manifest.users:,} users; catalogue: {entities}.\n"
        f"Source: {manifest.source}. Order of equal times: {manifest.tie_order}."
    )


def validate_log(
    log_dir: Path, name_or_path: str | None = None, overrides: tuple[str, ...] = ()
) -> tuple[str, bool]:
    """Checks an event log.

    Args:
        log_dir: Directory of the event log.
        name_or_path: The configuration that is to be run on it, if there is one.
        overrides: `key=value` pairs for the configuration.

    Returns:
        The report in plain words, and whether a run could use the log.

    Raises:
        ValueError: The configuration is not valid.
    """
    from tfx_pipeline.commands.log_check import warn_of_few_users
    from tfx_pipeline.config_file import load_config
    from tfx_pipeline.datasets.problem import counted
    from tfx_pipeline.datasets.validate import inspect_event_log

    keys = (f"log_dir={log_dir}", *overrides)
    config = load_config(name_or_path, keys) if name_or_path else None
    found = inspect_event_log(log_dir, config.timeline_of_log if config else None)
    errors = sum(problem.severity == "error" for problem in found.problems)
    remarks = len(found.problems) - errors
    lines = [str(problem) for problem in found.problems]
    verdict = "a sound event log"
    if found.problems:
        verdict = f"{counted(errors, 'error')}, {counted(remarks, 'other remark')}"
        use = "would refuse it" if found.refusal else "would use it"
        verdict += f"; a run {use}" + (
            " without the rows in error" if not found.refusal and errors else ""
        )
    lines.append(f"{log_dir}: {verdict}")
    if found.too_many:
        lines.append(f"  {found.too_many}")
    if any(found.totals.values()):
        lines.append(found.text())
    if config and not found.refusal:
        lines += filter(None, [warn_of_few_users(config, found)])
    return "\n".join(lines), not found.refusal


def _parse(option: str) -> tuple[str, Any]:
    """Splits one `key=value` with a YAML value."""
    key, separator, value = option.partition("=")
    if not separator:
        raise ValueError(f"An option is written key=value; received `{option}`.")
    return key.strip(), parse_yaml(value, option)
