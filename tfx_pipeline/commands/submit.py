"""`vitrine submit`: a compiled file becomes a run, or a recurring run, of Kubeflow Pipelines."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx_pipeline.commands.kubeflow import NEEDS_KFP
from tfx_pipeline.commands.kubeflow import named

TOKEN = "KFP_TOKEN"  # environment variable: a token in place of what kfp finds by itself


@dataclass(frozen=True)
class Submission:
    """Where a compiled file is submitted to, and as what.

    Attributes:
        host: Address of Kubeflow Pipelines.
        root: Address below which artifacts go; Kubeflow's default when empty.
        experiment: Which experiment the run is of.
        name: Of the run; the pipeline's by default.
        namespace: Of the run, where Kubeflow serves several users.
        service_account: That the pods run as; Kubeflow's default when empty.
        cron: When a run starts, in six fields, seconds first: a recurring run. One run when empty.
    """

    host: str
    root: str = ""
    experiment: str = "vitrine"
    name: str = ""
    namespace: str = ""
    service_account: str = ""
    cron: str = ""


def submit(file: Path, parameters: tuple[str, ...], where: Submission) -> str:
    """Submits a compiled file.

    Args:
        file: What `vitrine compile` wrote.
        parameters: `name=value` pairs.
        where: Where to, and as what.

    Returns:
        What to tell the user: the id, and the address of its page.

    Raises:
        ValueError: Kubeflow Pipelines would not take the file, or a parameter.
        RuntimeError: kfp is not installed, or Kubeflow Pipelines refuses or does not answer.
    """
    try:
        import kfp
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError
    except ModuleNotFoundError:
        raise RuntimeError(NEEDS_KFP) from None
    from tfx_pipeline.runners.kubeflow.emulator.spec import read_compiled

    compiled = read_compiled(file)
    given = named(parameters)
    compiled.arguments(given)  # Kubeflow says so too, but of a recurring run only when it starts
    name = where.name or compiled.name
    try:
        with contextlib.redirect_stdout(sys.stderr):  # kfp prints links of its own
            client = kfp.Client(
                host=where.host,
                namespace=where.namespace or "kubeflow",
                existing_token=os.environ.get(TOKEN),
            )
            experiment = client.create_experiment(
                where.experiment, namespace=where.namespace or None
            )
            return _create(client, experiment.experiment_id, name, file, given, where)
    except ApiException as error:
        raise RuntimeError(f"{where.host} refuses: {error.status} {error.body}") from None
    except (HTTPError, OSError) as error:
        raise RuntimeError(f"Kubeflow Pipelines does not answer at {where.host}: {error}") from None


def _create(
    client: Any, experiment: str, name: str, file: Path, given: dict[str, str], where: Submission
) -> str:
    # Caching is never set here: it would apply to all tasks, also to the one that must run.
    both = {
        "experiment_id": experiment,
        "job_name": name,
        "pipeline_package_path": str(file),
        "params": given,
        "pipeline_root": where.root or None,
        "service_account": where.service_account or None,
    }
    if where.cron:
        # Runs of one pipeline that overlap would push past each other; one that was missed is
        # made up for by the next, which reads the whole log.
        recurring = client.create_recurring_run(
            cron_expression=where.cron, max_concurrency=1, no_catchup=True, **both
        )
        one = recurring.recurring_run_id
        return f"recurring run {one}\n{where.host}/#/recurringrun/details/{one}"
    run = client.run_pipeline(**both).run_id
    return f"run {run}\n{where.host}/#/runs/details/{run}"
