"""A compiled pipeline of two tasks that take no second, for tests of who runs or sends it."""

from __future__ import annotations

import sys
from typing import Any

TEXT = {"artifactType": {"instanceSchema": "title: tfx.String\n"}}
# A task is a program here: it reads its executor input and writes what the launcher reads.
PROLOGUE = """
import json, os, pathlib, sys
given = json.loads(sys.argv[1])
output = pathlib.Path(given["outputs"]["outputFile"])
root = pathlib.Path(os.environ["VITRINE_MOUNT_ROOT"])
def local(uri): return root / "s3" / uri.removeprefix("s3://")
def write(**found):
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found))
out = {k: v["artifacts"][0]["uri"] for k, v in given["outputs"]["artifacts"].items()}
"""
MAKE = """
place = local(out["made"])
(place / "empty").mkdir(parents=True)
(place / "BLESSED").touch()
(place / "below").mkdir()
(place / "below" / "a.txt").write_text(given["inputs"]["parameterValues"]["text"])
metadata = {"blessed": 1, "names": ["a"], "of": {"b": 2}, "yes": True, "text": "x"}
write(artifacts={"made": {"artifacts": [{"uri": out["made"], "metadata": metadata}]}},
      parameterValues={"said": given["inputs"]["parameterValues"]["text"] + "!"})
"""
READ = """
read = given["inputs"]["artifacts"]["made"]["artifacts"][0]
found = {"read": read, "given": given["inputs"]["parameterValues"]}
found["files"] = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
found["folders"] = sorted(p.name for p in local(read["uri"]).iterdir())
local(out["report"]).write_text(json.dumps(found))
"""


def container(program: str) -> dict[str, Any]:
    command = [sys.executable, "-c", PROLOGUE + program]
    return {"container": {"image": "image:1", "command": command, "args": ["{{$}}"]}}


def spec() -> dict[str, Any]:
    """Two tasks: the second reads an artifact and a parameter of the first."""
    text = {"parameterType": "STRING"}
    return {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "small"},
        "root": {
            "inputDefinitions": {"parameters": {"text": {**text, "defaultValue": "hello"}}},
            "dag": {
                "tasks": {
                    "read": {
                        "componentRef": {"name": "read"},
                        "taskInfo": {"name": "read"},
                        "dependentTasks": ["make"],
                        "cachingOptions": {"enableCache": True},
                        "inputs": {
                            "artifacts": {
                                "made": {
                                    "taskOutputArtifact": {
                                        "producerTask": "make",
                                        "outputArtifactKey": "made",
                                    }
                                }
                            },
                            "parameters": {
                                "number": {"runtimeValue": {"constant": 3.0}},
                                "said": {
                                    "taskOutputParameter": {
                                        "producerTask": "make",
                                        "outputParameterKey": "said",
                                    }
                                },
                            },
                        },
                    },
                    "make": {
                        "componentRef": {"name": "make"},
                        "taskInfo": {"name": "make"},
                        "cachingOptions": {"enableCache": True},
                        "inputs": {"parameters": {"text": {"componentInputParameter": "text"}}},
                    },
                }
            },
        },
        "components": {
            "make": {
                "executorLabel": "make_executor",
                "inputDefinitions": {"parameters": {"text": text}},
                "outputDefinitions": {"artifacts": {"made": TEXT}, "parameters": {"said": text}},
            },
            "read": {
                "executorLabel": "read_executor",
                "inputDefinitions": {"artifacts": {"made": TEXT}},
                "outputDefinitions": {"artifacts": {"report": TEXT}},
            },
        },
        "deploymentSpec": {
            "executors": {"make_executor": container(MAKE), "read_executor": container(READ)}
        },
    }
