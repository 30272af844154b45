"""Serves a release candidate, asks it, and reports."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from typing import NamedTuple

from serving.client import DeadlineError
from serving.client import HistoryCodes
from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client import UnavailableError
from serving.index.embedding.records import read_batches
from serving.publishing.announce import announce_version
from serving.publishing.config import PusherConfig
from serving.publishing.servable_file import read_servable
from serving.publishing.warmup import WARMUP_FILE
from tfx_pipeline.components.request_examples import request_examples
from tfx_pipeline.components.serving_validator import ranking
from tfx_pipeline.components.serving_validator.answers import Answers
from tfx_pipeline.components.serving_validator.answers import warmup_requests
from tfx_pipeline.components.serving_validator.checks import Check
from tfx_pipeline.components.serving_validator.checks import quantile
from tfx_pipeline.components.serving_validator.config import RetrievalServingValidationConfig
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.loading import wait_until_loaded
from tfx_pipeline.components.serving_validator.release_candidate import ReleaseCandidateError
from tfx_pipeline.components.serving_validator.release_candidate import placed
from tfx_pipeline.components.serving_validator.retrieval.ask import ask as ask_retrieval
from tfx_pipeline.components.serving_validator.retrieval.checks import judge as judge_retrieval
from tfx_pipeline.components.serving_validator.server import ending
from tfx_pipeline.components.serving_validator.server import serving
from tfx_pipeline.stages.table import STAGES

_ROWS = 256  # of one call
_ROWS_SENT = 8  # of the catalogue, with one request


class Asked(NamedTuple):
    """Requests to the servables of a stage, and checks of their answers.

    Attributes:
        config: The stage's section `serving_validation`.
        reads_catalogue: Whether requests hold rows of the catalogue.
        ask: Sends every kind of request.
        judge: Compares what came back with what it should be.
    """

    config: type[ServingValidationConfig]
    reads_catalogue: bool
    ask: Callable[..., Answers]
    judge: Callable[..., list[Check]]


ASKED = {
    "retrieval": Asked(RetrievalServingValidationConfig, False, ask_retrieval, judge_retrieval),
    "ranking": Asked(ServingValidationConfig, True, ranking.ask, ranking.judge),
}


class ExampleFiles(NamedTuple):
    """TFRecord files of raw examples that requests are made of.

    Attributes:
        test: The stage's test split.
        catalogue: The split `catalogue`, where the stage's requests hold rows of it.
    """

    test: Sequence[str]
    catalogue: Sequence[str] = ()


def validate(
    servable: Path,
    model: Path,
    files: ExampleFiles,
    config: ServingValidationConfig,
    name: str,
    push: PusherConfig,
    log: Path,
) -> dict[str, Any]:
    """Asks a release candidate through a server.

    The server is gone before anything is judged: the two would otherwise hold
    the release candidate in memory at the same time.

    Args:
        servable: The release candidate; its `servable.json` says what it can be asked.
        model: The Trainer's SavedModel, which it was made of.
        files: What requests are made of.
        config: What is asked, and of which server; of the servable's stage.
        name: What the model is called.
        push: How it would be pushed: its warm-up requests, and the files that its
            server is started with.
        log: File that takes what the server writes.

    Returns:
        The report: `blessed`, `reasons` when it is not, `server`, `version`,
        `requests`, `latency_ms` (`p50`, `p99`) and `checks`, each with `name`,
        `passed` (null where the failure of another check left nothing to look
        at), `expected` and `received`.

    Raises:
        FileNotFoundError: There is no model, or no `servable.json`.
        RuntimeError: The server could not be started, ended by itself, or was not
            ready in time, or, where there is no bound on the latency, does not
            answer in time.
        ServingError: The server cannot be reached, or has no such model.
    """
    said = read_servable(servable)
    stage, asked = said.stage, ASKED[said.stage]
    codes = {"codes": HistoryCodes.read(servable)} if "rank_codes" in said.signatures else {}
    examples = request_examples(files.test, config.requests)
    batches = read_batches(files.catalogue, _ROWS_SENT, _ROWS_SENT)
    catalogue = list(chain.from_iterable(batches))
    answers, version = Answers(), None
    try:
        if not examples:
            split = STAGES[stage].test_split
            raise ReleaseCandidateError(f"the split `{split}` holds nothing to make a request of")
        warmup = request_examples(files.test, push.warmup_requests)
        with _placed(servable, warmup, config, push) as place:
            with _client(place, config, name, push, log) as (client, version):
                patient, rows = not config.latency_p99_ms, _rows(push)
                warmed = Answers(patient=patient)
                warmed.warm_up(client, place / WARMUP_FILE)
                answers = asked.ask(client, examples, catalogue, rows, patient, **codes)
            recorded = sum(1 for _ in warmup_requests(place / WARMUP_FILE))
        checks = [
            Check("load", True, "a server that answers from it", f"version {version} answers"),
            _warm_up(warmed, recorded),
            *asked.judge(servable, model, examples, answers, config),
        ]
    except ReleaseCandidateError as error:
        checks = [Check("load", False, "a server that answers from it", str(error))]
    failed = [check for check in checks if check.passed is False]
    return {
        "blessed": all(check.passed for check in checks),
        "reasons": [f"{c.name}: expected {c.expected}; received {c.received}" for c in failed],
        "server": config.server,
        "version": version,
        "requests": len(examples),
        "latency_ms": {
            "p50": quantile(answers.milliseconds, 50),
            "p99": quantile(answers.milliseconds, 99),
        },
        "checks": [check._asdict() for check in checks],
    }


@contextlib.contextmanager
def _placed(
    servable: Path,
    warmup: Sequence[bytes],
    config: ServingValidationConfig,
    push: PusherConfig,
) -> Iterator[Path]:
    """Yields the directory of the release candidate as a version, where its server looks for it."""
    with tempfile.TemporaryDirectory() as scratch:
        base_path = Path(config.base_path or scratch)
        with placed(servable, base_path, warmup, push.batching.max_batch_size) as place:
            yield place


@contextlib.contextmanager
def _client(
    place: Path, config: ServingValidationConfig, name: str, push: PusherConfig, log: Path
) -> Iterator[tuple[RecommenderClient, int]]:
    """Yields a client of a server that has loaded the release candidate, and the version."""
    with contextlib.ExitStack() as stack:
        process = None
        address, model, version = config.server, config.model or name, config.version
        if not config.is_address:
            announce_version(place.parent, int(place.name), name, push)
            address, process = stack.enter_context(serving(config.server, place.parent, log))
        if not config.is_address or config.base_path:
            version = int(place.name)
        client = stack.enter_context(
            RecommenderClient(
                address,
                model,
                version=version,
                timeout=config.timeout_s,
                retry=RetryPolicy(attempts=1),
                max_rows=_rows(push),
            )
        )

        def ended() -> str:
            return ending(process, log) if process else ""

        try:
            yield client, wait_until_loaded(client, config.load_timeout_s, ended)
        except UnavailableError as error:
            if last_words := ended():
                raise RuntimeError(last_words) from error
            raise
        except DeadlineError as error:
            stage = read_servable(place).stage
            raise RuntimeError(
                f"{error} That is no verdict: run again when the machine is less busy, or raise "
                f"`{stage}.serving_validation.timeout_s` ({config.timeout_s:g})."
            ) from None


def _rows(push: PusherConfig) -> int:
    """Returns how many rows are asked for in one call."""
    return min(push.batching.max_batch_size, _ROWS)


def _warm_up(answers: Answers, recorded: int) -> Check:
    received = answers.faults.get("warm_up", f"{answers.warmed} answers")
    passed = answers.warmed == recorded
    return Check("warm_up", passed, f"answers to {recorded} warm-up requests", received)
