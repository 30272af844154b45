"""`python -m serving.local_server CONFIG.json`: runs a server from a file."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import logging
from pydantic import ValidationError

from serving.local_server.config import ServerConfig
from serving.local_server.errors import StartError
from serving.local_server.main import serve
from transforms.base_config import explain


def main(arguments: list[str]) -> int:
    """Runs a server; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m serving.local_server CONFIG.json\n")
        return 2
    logging.set_verbosity(logging.INFO)
    try:
        serve(ServerConfig.model_validate_json(Path(arguments[0]).read_text(encoding="utf-8")))
    except ValidationError as error:
        sys.stderr.write(f"{explain(error, arguments[0])}\n")
        return 1
    except (StartError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
