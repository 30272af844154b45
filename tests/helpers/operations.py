"""Lists the operations of a SavedModel, and those that stock TensorFlow does not know."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import json, sys
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
import tensorflow as tf

model = saved_model_pb2.SavedModel()
model.ParseFromString(open(sys.argv[1], "rb").read())
names = set()
for meta in model.meta_graphs:
    own = {function.signature.name for function in meta.graph_def.library.function}
    names |= {node.op for node in meta.graph_def.node}
    names |= {node.op for function in meta.graph_def.library.function for node in function.node_def}
    names -= own
tf.saved_model.load(sys.argv[1].rpartition("/")[0])
print(json.dumps({
    "all": sorted(names),
    "unknown": sorted(name for name in names if op_def_registry.get(name) is None),
    "scann": "scann" in sys.modules,
}))
"""


def operations(saved_model: Path) -> dict[str, object]:
    """Loads a SavedModel in a process with TensorFlow alone.

    Returns:
        {"all": names of operations, "unknown": those not registered there,
        "scann": whether something imported ScaNN}
    """
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(saved_model / "saved_model.pb")],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
