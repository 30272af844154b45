"""One loaded version: a TensorFlow session of its own.

A session, as TF Serving itself uses, and not `tf.saved_model.load`: it keeps
variables, tables and functions of a version apart from every other version,
frees them when it is closed, and can give up a run at a deadline.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from serving.client import protos
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.signature import Arrays
from serving.local_server.signature import ServedSignature
from serving.local_server.signature import TensorSpec

# TensorFlow's error codes are gRPC's.
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class Servable:
    """A SavedModel in memory.

    Args:
        model: name of the model, for messages.
        version: its version.
        path: the SavedModel's directory.
        intra_op_threads: threads inside one operation; 0 is TensorFlow's choice.
        inter_op_threads: operations side by side; 0 as above.

    Raises:
        Exception: whatever TensorFlow raises for damaged files.
    """

    def __init__(
        self,
        model: str,
        version: int,
        path: Path,
        intra_op_threads: int = 0,
        inter_op_threads: int = 0,
    ) -> None:
        import tensorflow as tf

        self.model = model
        self.version = version
        self.path = path
        self._tf = tf
        tf.get_logger().addFilter(_is_news)  # adding it again changes nothing
        options = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
            gpu_options=tf.compat.v1.GPUOptions(allow_growth=True),
        )
        # These rewrites move the tensors of training between devices or compute them again. In a
        # model that only answers they change nothing, but guess the cost of every operation and
        # warn where they cannot, past TF_CPP_MIN_LOG_LEVEL.
        rewriting = options.graph_options.rewrite_options
        rewriting.memory_optimization = rewriting.NO_MEM_OPT
        graph = tf.Graph()
        with graph.as_default():
            self._session = tf.compat.v1.Session(graph=graph, config=options)
            try:
                meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
                graph.finalize()
                self.signatures = self._read_signatures(meta_graph)
            except BaseException:
                self._session.close()
                raise
        self.signature_definitions = _definitions(meta_graph)

    def run(self, signature: ServedSignature, inputs: Arrays, timeout: float | None) -> Arrays:
        """Runs a signature.

        Args:
            signature: one of `signatures`.
            inputs: checked arrays by input name.
            timeout: seconds after which TensorFlow gives the run up.

        Returns:
            Arrays by output name; strings are object arrays of `bytes`.

        Raises:
            RequestError: the graph raised, with its code and the head of its words.
        """
        feeds = {signature.inputs[name].tensor: array for name, array in inputs.items()}
        fetches = {name: spec.tensor for name, spec in signature.outputs.items()}
        options = None
        if timeout is not None:
            milliseconds = max(1, int(timeout * 1000))
            options = self._tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)
        try:
            outputs = self._session.run(fetches, feeds, options=options)
        except self._tf.errors.OpError as error:
            code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
            raise RequestError(code, f"{signature}: {head(error.message)}") from error
        except UnicodeDecodeError as error:  # TensorFlow quotes the bytes of a bad example
            text = error.object.decode(errors="replace")
            raise invalid(f"{signature}: {head(text)}") from error
        except (TypeError, ValueError) as error:
            raise invalid(f"{signature}: {head(str(error))}") from error
        return {name: np.asarray(value) for name, value in outputs.items()}

    def close(self) -> None:
        """Frees the session with its variables and tables."""
        self._session.close()

    def _read_signatures(self, meta_graph: Any) -> dict[str, ServedSignature]:
        owner = f"model `{self.model}` version {self.version}"
        found = {}
        for name, definition in meta_graph.signature_def.items():
            if not name.startswith("__") and definition.outputs:
                found[name] = ServedSignature(
                    name, owner, _specs(definition.inputs), _specs(definition.outputs)
                )
        return found


def _is_news(record: logging.LogRecord) -> bool:
    """Leaves out the advice to load with a function that shares state between versions."""
    return "tf.saved_model.load" not in record.getMessage()


def head(message: str) -> str:
    """Returns the lines of TensorFlow's message that say something, without the stack."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    kept = [
        line
        for line in lines
        if not line.startswith(("Graph execution error", "Detected at", "File ", "[["))
    ]
    return " ".join(kept or lines)[:500] or "the graph raised without a message"


def _specs(infos: Any) -> dict[str, TensorSpec]:
    return {name: TensorSpec(info.name, info.dtype, _shape(info)) for name, info in infos.items()}


def _shape(info: Any) -> tuple[int | None, ...] | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)


def _definitions(meta_graph: Any) -> Any:
    """Copies the signature definitions into the client's own message type."""
    definitions = protos.SignatureDefMap()
    for name, definition in meta_graph.signature_def.items():
        definitions.signature_def[name].ParseFromString(definition.SerializeToString())
    return definitions
