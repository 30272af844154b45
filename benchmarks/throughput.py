"""One file for the throughput of every stage, gathered from the stages' own benchmarks.

python -m benchmarks.throughput

It measures nothing itself: run the benchmarks of `PARTS` first.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.results import DIRECTORY

PARTS = ("timeline_generation", "transform_throughput", "training_throughput")


def main() -> None:
    """Writes `throughput.json` with every row of the parts and the command that made it."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    contents = [_read(part) for part in PARTS]
    commits = list(dict.fromkeys(content["commit"] for content in contents))
    target = DIRECTORY / "throughput.json"
    content = {
        "name": "throughput",
        "command": "python -m benchmarks.throughput",
        "commit": ", ".join(commits),
        "hardware": contents[0]["hardware"],
        "wall_seconds": sum(content["wall_seconds"] for content in contents),
        "rows": [
            row | {"command": content["command"]} for content in contents for row in content["rows"]
        ],
    }
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {len(content['rows'])} rows")


def _read(part: str) -> dict[str, Any]:
    """Returns the result file of a part."""
    path = DIRECTORY / f"{part}.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{path.relative_to(ROOT)} is not there yet: run `python -m benchmarks.{part}`."
        )
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
