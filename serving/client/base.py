"""Base of the synchronous and the asynchronous client: settings, and calls as plans.

A plan is a generator. It yields the steps of a call, is sent the answer to each (or
has what went wrong thrown in) and returns what the call returns. Either client runs
it in its own way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Mapping
from collections.abc import Sequence
from numbers import Real
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import numpy.typing as npt
from google.protobuf.message import EncodeError

from serving.client import protos
from serving.client.calls import fill_spec
from serving.client.calls import parse_metadata
from serving.client.calls import parse_prediction
from serving.client.calls import parse_recommendations
from serving.client.calls import parse_status
from serving.client.calls import predict_request
from serving.client.calls import recommend_inputs
from serving.client.channel import MAX_MESSAGE_BYTES
from serving.client.channel import TlsOptions
from serving.client.channel import channel_options
from serving.client.errors import ClosedError
from serving.client.errors import InvalidRequestError
from serving.client.errors import NotFoundError
from serving.client.errors import StaleCodesError
from serving.client.errors import Target
from serving.client.errors import TooLargeError
from serving.client.errors import TooManyRowsError
from serving.client.errors import answers
from serving.client.errors import arguments
from serving.client.history_codes import HistoryCodes
from serving.client.ranking import parse_rankings
from serving.client.ranking import rank_inputs
from serving.client.retry import RetryPolicy
from serving.client.types import ModelMetadata
from serving.client.types import Prediction
from serving.client.types import Ranking
from serving.client.types import RankRequest
from serving.client.types import Request
from serving.client.types import VersionStatus

RECOMMEND = "recommend"
RANK = "rank"
RANK_CODES = "rank_codes"
EXAMPLES = "serving_default"
METHODS = {
    "Predict": protos.PREDICTION_SERVICE,
    "GetModelMetadata": protos.PREDICTION_SERVICE,
    "GetModelStatus": protos.MODEL_SERVICE,
}
_logger = logging.getLogger("serving.client")
_RESPONSES = {method: protos.methods(service)[method][1] for method, service in METHODS.items()}
_IDS_FOR = 60.0  # seconds that histories go as ids once their codes were refused
LONGEST_TIMEOUT = 1e6  # seconds; gRPC takes much longer ones for deadlines that have passed

T = TypeVar("T")


class Step(NamedTuple):
    """One request of a call, and where it goes."""

    method: str
    target: Target
    request: Any


Plan = Generator[Step, Any, T]
# Reads the answer to some rows that were sent to a target: one value for each.
Parse = Callable[[Prediction, Sequence[Any], Target], list[Any]]


class ClientBase:
    """Settings of a client and the requests that it sends.

    Args:
        address: `host:port` of TF Serving or the local server.
        model: name of the model.
        version: a version to insist on; by default the server's latest.
        label: a version label such as `stable`, in place of a version.
        timeout: seconds for a call, retries and all requests of a long batch included.
        retry: which failures are tried again, and when.
        tls: TLS or mutual TLS; `None` sends in the clear.
        max_message_bytes: bound of a request and of an answer.
        max_rows: rows of a batch that go into one request; longer batches are
            sent as several. A server that takes fewer is asked with as many as
            it says.
        round_robin: spread calls over all addresses behind the name.
        history_codes: codes of the ranker's servable, by which `rank` and `rank_batch` send
            histories. Where the servable that answers reads others, or none, they go as ids,
            and for the next minute at once; the log says so.

    Raises:
        ArgumentError: `version` and `label` are both given, a number is not
            positive, or a certificate cannot be read. It is a `ValueError`, too.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8500",
        model: str = "recommender",
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 5.0,
        retry: RetryPolicy | None = None,
        tls: TlsOptions | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_rows: int = 256,
        round_robin: bool = False,
        history_codes: HistoryCodes | None = None,
    ) -> None:
        self.history_codes = history_codes
        self._ids_until = 0.0
        self._target = Target(address, model, version, label)
        self._retry = retry or RetryPolicy()
        self._tls = tls
        self._closed = False
        with arguments(self._target):
            if version is not None and label:
                raise ValueError(
                    f"Expected a version or a label. Received: version={version} and "
                    f"label=`{label}`."
                )
            self._timeout = check_timeout(timeout)
            self._max_rows = check_count(max_rows, "max_rows")
            self._max_message_bytes = check_count(max_message_bytes, "max_message_bytes")
            self._options = channel_options(max_message_bytes, tls, round_robin)
            self._channel = self._open_channel()
            self._methods = self._stubs(self._channel)

    @property
    def target(self) -> Target:
        """The server and model that calls go to."""
        return self._target

    @property
    def max_rows(self) -> int:
        """Rows that go into one request: what was set, or what the server takes."""
        return self._max_rows

    def seconds(self, timeout: float | None) -> float:
        """Returns the seconds that a call may take.

        Args:
            timeout: what the call says; `None` for the client's own.

        Raises:
            ArgumentError: gRPC cannot wait so long.
        """
        with arguments(self._target):
            return self._timeout if timeout is None else check_timeout(timeout)

    def _open_channel(self) -> Any:
        raise NotImplementedError

    def _stubs(self, channel: Any) -> dict[str, Any]:
        # Requests are serialised once, whatever the number of tries; answers are
        # parsed here, where it can be said what was wrong with one.
        return {
            method: channel.unary_unary(f"/{service}/{method}", None, None)
            for method, service in METHODS.items()
        }

    def _serialise(self, step: Step) -> bytes:
        try:
            message: bytes = step.request.SerializeToString()
        except (EncodeError, ValueError) as error:  # the one or the other, by implementation
            details = f"protobuf does not serialise requests of 2 GiB and more ({error})"
            raise TooLargeError(step.target, "RESOURCE_EXHAUSTED", details) from error
        if len(message) > self._max_message_bytes:
            raise TooLargeError(
                step.target,
                "RESOURCE_EXHAUSTED",
                f"the request has {len(message):,} bytes of {self._max_message_bytes:,} allowed",
            )
        return message

    def _parse(self, step: Step, message: bytes) -> Any:
        with answers(step.target):
            return _RESPONSES[step.method].FromString(message)

    def _closed_error(self, target: Target, details: object) -> ClosedError:
        return ClosedError(target, "CANCELLED", str(details))

    def _recommend(
        self, requests: Sequence[Request], k: int, singly: bool = False
    ) -> Plan[list[Any]]:
        parse = self._parse_best(RECOMMEND, "ids", k)
        return self._batches(requests, RECOMMEND, recommend_inputs, parse, singly)

    def _recommend_examples(
        self, examples: Sequence[bytes], k: int, singly: bool = False
    ) -> Plan[list[Any]]:
        def inputs(rows: Sequence[bytes]) -> dict[str, Any]:
            return {"examples": list(rows)}

        parse = self._parse_best(EXAMPLES, "classes", k)
        return self._batches(examples, EXAMPLES, inputs, parse, singly)

    def _rank(self, requests: Sequence[RankRequest]) -> Plan[list[Ranking]]:
        codes = self.history_codes
        if codes is not None and time.monotonic() >= self._ids_until:

            def encoded(rows: Sequence[RankRequest]) -> Mapping[str, Any]:
                return codes.encode(rank_inputs(rows))

            try:
                return (yield from self._batches(requests, RANK_CODES, encoded, parse_rankings))
            except (StaleCodesError, NotFoundError) as error:
                self._ids_until = time.monotonic() + _IDS_FOR
                _logger.warning("Histories go as ids for %d seconds: %s", _IDS_FOR, error)
        return (yield from self._batches(requests, RANK, rank_inputs, parse_rankings))

    def _parse_best(self, signature: str, ids_name: str, k: int) -> Parse:
        """Returns what reads the best k of each row."""
        with arguments(self._target.of(signature)):
            k = check_count(k, "k")
        return lambda prediction, rows, target: parse_recommendations(
            prediction, ids_name, len(rows), k, target
        )

    def _batches(
        self,
        rows: Sequence[Any],
        signature: str,
        lay_out: Callable[[Sequence[Any]], Mapping[str, Any]],
        parse: Parse,
        singly: bool = False,
    ) -> Plan[list[Any]]:
        """Asks for rows in requests of at most `max_rows`, singly where one is refused."""
        target = self._target.of(signature)
        with arguments(target):
            rows = list(rows)

        def ask(part: Sequence[Any]) -> Plan[list[Any]]:
            with arguments(target):
                request = predict_request(target, lay_out(part))
            prediction = parse_prediction((yield Step("Predict", target, request)), target)
            return parse(prediction, part, target)

        found: list[Any] = []
        while len(found) < len(rows):
            part = rows[len(found) : len(found) + self._max_rows]
            try:
                found += yield from ask(part)
            except TooManyRowsError as error:
                if not 0 < error.allowed < len(part):
                    raise
                self._max_rows = error.allowed
            except InvalidRequestError:
                if not singly:
                    raise
                for row in part:
                    try:
                        found += yield from ask([row])
                    except InvalidRequestError as refused:
                        found.append(refused)
        return found

    def _predict(
        self, signature: str, inputs: Mapping[str, npt.ArrayLike], output_filter: Sequence[str]
    ) -> Plan[Prediction]:
        target = self._target.of(signature)
        with arguments(target):
            request = predict_request(target, inputs, output_filter)
        return parse_prediction((yield Step("Predict", target, request)), target)

    def _status(self) -> Plan[list[VersionStatus]]:
        target = self._target.of("GetModelStatus")
        request = protos.GetModelStatusRequest()
        with arguments(target):
            fill_spec(request.model_spec, target)
        if target.label:
            # TF Serving reads no label here and would list every version; the metadata
            # say which version a label stands for.
            request.model_spec.version.value = (yield from self._metadata()).version
        return parse_status((yield Step("GetModelStatus", target, request)), target)

    def _metadata(self) -> Plan[ModelMetadata]:
        target = self._target.of("GetModelMetadata")
        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        with arguments(target):
            fill_spec(request.model_spec, target)
        return parse_metadata((yield Step("GetModelMetadata", target, request)), target)


def check_count(value: int, name: str) -> int:
    """Returns a whole number above 0, or raises `ValueError`."""
    if not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"Expected `{name}` >= 1. Received: {value!r}.")
    return value


def check_timeout(timeout: float) -> float:
    """Returns seconds that gRPC can wait, or raises `ValueError`."""
    if not isinstance(timeout, Real) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise ValueError(
            f"Expected `timeout` in seconds, above 0 and at most {LONGEST_TIMEOUT:,.0f}. Received: "
            f"{timeout!r}."
        )
    return float(timeout)
