"""Renders the tables of READMEs from result files, so that they cannot drift.

    python -m benchmarks.results_table             # every Markdown file of the checkout
    python -m benchmarks.results_table --check     # fails if a table is not what its file says

In a Markdown file, everything between these two comments is made again:

    <!-- results: movielens_1m_retrieval columns=model,hr@10,hr@50 digits=3 -->
    <!-- /results -->

`only=fastest` leaves out rows where that column is 0 or missing, `only=model:two_tower,sequence`
those where it has another value.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.environment import machine
from benchmarks.results import DEVIATION
from benchmarks.results import DIRECTORY
from benchmarks.results import runs_of

_TABLE = re.compile(
    r"(?P<head><!-- results: (?P<name>[\w-]+)(?P<options>[^\n]*?) -->\n)"
    r"(?P<body>.*?)(?P<tail><!-- /results -->)",
    re.DOTALL,
)
_NOT_OURS = {".venv", ".tools", ".git", "node_modules", "runs", "data"}


def render(path: Path, columns: Sequence[str] = (), digits: int = 4, only: str = "") -> str:
    """Returns the table of a result file as Markdown, and below it where it comes from.

    Args:
        path: The result file.
        columns: Names of columns; all without deviations when empty.
        digits: Decimals of numbers that are no integers.
        only: A column; rows where it is 0 or missing are left out. With values behind a colon,
            rows where it is none of these.

    Returns:
        The table; a value measured several times is followed by ± its deviation.

    Raises:
        FileNotFoundError: The result file is not there.
        ValueError: No row has a column of this name.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there yet; run its benchmark first.")
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = content["rows"]
    known = list(dict.fromkeys(n for row in rows for n in row if not n.endswith(DEVIATION)))
    filtered, _, values = only.partition(":")
    wrong = [name for name in (*columns, filtered) if name and name not in known]
    if wrong:
        raise ValueError(f"{path.name} has no column {wrong}; it has {known}.")
    if filtered:
        wanted = values.split(",")
        rows = [r for r in rows if (str(r.get(filtered)) in wanted if values else r.get(filtered))]
    shown = list(columns) or known
    numbers = [all(not isinstance(row.get(name), str) for row in rows) for name in shown]
    lines = [
        "| " + " | ".join(shown) + " |",
        "|" + "|".join("---:" if number else "---" for number in numbers) + "|",
        *("| " + " | ".join(_cell(row, name, digits) for name in shown) + " |" for row in rows),
    ]
    lines += ["", _footer(content, rows)]
    return "\n".join(lines) + "\n"


def update(text: str, directory: Path = DIRECTORY) -> str:
    """Returns the text of a Markdown file with its tables made again.

    Args:
        text: The Markdown.
        directory: Where result files are.

    Raises:
        FileNotFoundError: A result file is not there.
        ValueError: An option or a column is not known.
    """

    def replace(match: re.Match[str]) -> str:
        options = _options(match["options"])
        columns = tuple(filter(None, options.get("columns", "").split(",")))
        table = render(
            directory / f"{match['name']}.json",
            columns,
            int(options.get("digits", "4")),
            options.get("only", ""),
        )
        return f"{match['head']}{table}{match['tail']}"

    return _TABLE.sub(replace, text)


def _commands(content: dict[str, Any]) -> str:
    """Returns the command that made a file, and those that measured what it gathers."""
    parts = dict.fromkeys(row["command"] for row in content["rows"] if "command" in row)
    gathers = f", which gathers what {', '.join(f'`{part}`' for part in parts)} measured"
    return f"`{content['command']}`" + (gathers if parts else "")


def _footer(content: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """Returns the command, the commits, the machines and the time of the rows of a table."""
    runs = runs_of(content) if "runs" in content else []
    runs = [run for run in runs if any(run.key.items() <= row.items() for row in rows)]
    commits = list(dict.fromkeys(run.commit for run in runs)) or [content["commit"]]
    machines = list(dict.fromkeys(run.machine for run in runs)) or [machine(content["hardware"])]
    seconds = sum(run.seconds for run in runs) if runs else content["wall_seconds"]
    return (
        f"{_commands(content)} · commit{'s' * (len(commits) > 1)} {', '.join(commits)} · "
        f"{'; '.join(machines)} · {seconds / 60:.0f} minutes in all"
    )


def _options(text: str) -> dict[str, str]:
    """Parses `columns=a,b digits=3`."""
    options = dict(part.partition("=")[::2] for part in text.split())
    unknown = options.keys() - {"columns", "digits", "only"}
    if unknown:
        raise ValueError(
            f"A table has the options `columns`, `digits` and `only`; received {sorted(unknown)}."
        )
    return options


def _cell(row: dict[str, Any], name: str, digits: int) -> str:
    """Returns one cell: a name, a whole number, or a mean with its deviation."""
    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    digits = 1 if name.endswith("seconds") else digits
    text = _number(value, digits)
    deviation = row.get(name + DEVIATION)
    if deviation is not None and row.get("runs", 1) > 1:
        text += f" ± {_number(deviation, digits)}"
    return text


def _number(value: float, digits: int) -> str:
    """Returns a number with as many decimals as its size deserves."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else digits}f}"


def main(arguments: list[str] | None = None) -> None:
    """Updates Markdown files, or says which tables have drifted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a drift")
    options = parser.parse_args(arguments)
    files = options.files or [
        file
        for file in sorted(ROOT.rglob("*.md"))
        if not _NOT_OURS & set(file.relative_to(ROOT).parts)
    ]
    drifted = []
    for file in files:
        before = file.read_text(encoding="utf-8")
        after = update(before)
        if after != before:
            drifted.append(str(file))
            if not options.check:
                file.write_text(after, encoding="utf-8")
    if drifted:
        print(("Out of date: " if options.check else "Rendered: ") + ", ".join(drifted))
    sys.exit(1 if drifted and options.check else 0)


if __name__ == "__main__":
    main()
