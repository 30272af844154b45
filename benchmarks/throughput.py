"""One file for the throughput of every stage, gathered from the stages' own benchmarks.

python -m benchmarks.throughput
"""

from __future__ import annotations

import json

from benchmarks.environment import ROOT
from benchmarks.results import DIRECTORY

PARTS = ("timeline_generation", "transform_throughput", "training_throughput")


def main() -> None:
    """Writes `throughput.json` with every row of the parts and the command that made it."""
    rows = []
    for part in PARTS:
        path = DIRECTORY / f"{part}.json"
        if not path.exists():
            raise FileNotFoundError(
                f"{path.relative_to(ROOT)} is not there yet: run `python -m benchmarks.{part}`."
            )
        content = json.loads(path.read_text(encoding="utf-8"))
        origin = {key: content[key] for key in ("command", "commit", "hardware")}
        rows += [row | origin for row in content["rows"]]
    target = DIRECTORY / "throughput.json"
    content = {"name": "throughput", "command": "python -m benchmarks.throughput", "rows": rows}
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {len(rows)} rows")


if __name__ == "__main__":
    main()
