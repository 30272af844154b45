"""The local runner, with real TFX and a component that does next to nothing."""

# No `annotations` from the future here: TFX reads those of a component as they stand.

import os
import signal
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tfx import v1 as tfx

from tfx_pipeline.cli import cli
from tfx_pipeline.cli import main
from tfx_pipeline.components.example_validator import CuratedSchemaGen
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.runners import local
from tfx_pipeline.stages.state import RunState

pytestmark = pytest.mark.slow


@tfx.dsl.components.component
def interrupted() -> None:  # type: ignore[misc]
    """Gets the signal that Ctrl-C sends."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)  # the signal comes before


class Thing:
    """What a weak reference may refer to."""


@tfx.dsl.components.component
def lost() -> None:  # type: ignore[misc]
    """Gets the signal in the callback of a weak reference, of which Python ignores exceptions."""
    thing = Thing()
    callback = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    assert callback() is None


@tfx.dsl.components.component
def taken() -> None:  # type: ignore[misc]
    """Gets the signal, and says that something else is wrong, as libraries do."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("a worker is gone") from None


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., local.RunOutputs]:
    """Runs components in a directory whose name has a space and an accent, named relatively."""

    def run_components(*components: Any) -> local.RunOutputs:
        def create(config: PipelineConfig, state: RunState, **where: Any) -> tfx.dsl.Pipeline:
            return tfx.dsl.Pipeline(pipeline_name=config.name, components=components, **where)

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(local, "create_pipeline", create)
        monkeypatch.setattr(local, "read_state", lambda config: RunState("log"))
        return local.run_locally(load_config("shop_demo", ("run_dir=my shop é",)))

    return run_components


def test_a_relative_directory_with_a_space_and_an_accent_can_be_written_to_by_arrow(
    run: Callable[..., local.RunOutputs], tmp_path: Path
) -> None:
    outputs = run(CuratedSchemaGen(code_version="1").with_id("first"))
    place = outputs.uri("first", "schema")
    assert place.is_relative_to(tmp_path / "my shop é")
    pq.write_table(pa.table({"a": [1]}), f"{place}/a.parquet")  # as components name their files


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("stopped", "where", "kept"),
    [
        (interrupted, "in", "first"),
        (lost, "after", "first, second"),
        (taken, "in", "first"),
    ],
    ids=["raised", "lost", "taken"],
)
def test_a_run_that_is_interrupted_says_what_is_kept_and_how_to_go_on(
    run: Callable[..., local.RunOutputs],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stopped: Callable[[], Any],
    where: str,
    kept: str,
) -> None:
    first = CuratedSchemaGen(code_version="1").with_id("first")
    second = stopped().with_id("second")
    second.add_upstream_node(first)
    third = interrupted().with_id("third")  # nothing gets so far
    third.add_upstream_node(second)
    monkeypatch.setitem(
        cli.commands, "go", click.Command("go", callback=lambda: run(first, second, third))
    )
    monkeypatch.setattr("sys.argv", ["vitrine", "go"])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(SystemExit) as caught:
            main()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.value.code == 130
    told = capsys.readouterr().err
    assert f"Stopped {where} the component `second`. Kept in my shop é: {kept}." in told
    assert "The same command goes on from there" in told


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (("--direct_running_mode=in_memory",), True),
        (("--runner=PortableRunner", "--environment_config=workers:50000"), True),
        (("--runner=FlinkRunner", "--environment_config=image", "--sdk_container_image=x"), False),
        (("--runner=DataflowRunner", "--project=shop"), False),
    ],
)
def test_what_workers_have_is_not_packed_for_them(options: tuple[str, ...], given: bool) -> None:
    config = load_config("shop_demo").model_copy(update={"beam_pipeline_args": options})
    more = ("--sdk_container_image=none",) if given else ()
    if "--runner" not in options[0]:
        more = ("--allow_unsafe_triggers", *more)
    assert local.with_workers_here(config).beam_pipeline_args == (*options, *more)
