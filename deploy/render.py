"""`python -m deploy.render`: values in, manifests and a compose file out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import yaml

from deploy import kubernetes
from deploy import monitoring
from deploy.compose import LOCAL_SERVER
from deploy.compose import compose
from deploy.compose import local_server_text
from deploy.training import training_job
from deploy.values import VALUES
from deploy.values import Values
from deploy.values import load_values
from serving.publishing.config import PusherConfig

RENDERED = VALUES.parent / "rendered"
KUBERNETES, COMPOSE = "kubernetes", "compose.yaml"
TRAINING = "training-job.yaml"  # not beside the objects: it is started by hand


def objects(values: Values) -> dict[str, dict[str, Any]]:
    """Returns the Kubernetes objects by the name of their file."""
    extra = values.monitoring
    monitor = kubernetes.metadata(values, **extra.service_monitor_labels)
    rules = kubernetes.metadata(values, "-alerts", **extra.service_monitor_labels)
    board = kubernetes.metadata(values, "-dashboard", **extra.dashboard_labels)
    path = PusherConfig().monitoring_path
    return {
        "deployment": kubernetes.deployment(values),
        "service": kubernetes.service(values),
        "network-policy": kubernetes.network_policy(values),
        "autoscaler": kubernetes.autoscaler(values),
        "disruption-budget": kubernetes.disruption_budget(values),
        "service-monitor": monitoring.service_monitor(
            values, monitor, kubernetes.labels(values), path
        ),
        "alerts": monitoring.alerts(values, rules),
        "dashboard": monitoring.dashboard_map(values, board),
        "adapter-rules": monitoring.adapter_map(kubernetes.metadata(values, "-adapter-rules")),
    }


def render(values: Values, out: Path) -> list[Path]:
    """Writes every manifest, the training job and the compose file.

    Args:
        values: What is deployed.
        out: Directory of `compose.yaml`, the local server's settings, the training job, and
            `kubernetes/*.yaml`.

    Returns:
        The files.
    """
    documents = {Path(KUBERNETES, f"{name}.yaml"): one for name, one in objects(values).items()}
    documents[Path(COMPOSE)] = compose(values, out.resolve())
    documents[Path(TRAINING)] = training_job(values)
    texts = {name: _yaml(document) for name, document in documents.items()}
    texts[Path(f"{LOCAL_SERVER}.json")] = local_server_text(values)
    for name, text in texts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [out / name for name in texts]


def _yaml(document: dict[str, Any]) -> str:
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return "# From deploy/values.yaml by `python -m deploy.render`.\n" + text


class _Dumper(yaml.SafeDumper):
    """Repeats what comes twice, and writes several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        """Says that nothing is written as a reference to something above."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


@click.command()
@click.option("--values", "path", type=click.Path(path_type=Path), default=VALUES)
@click.option("--out", type=click.Path(path_type=Path), default=RENDERED)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="e.g. server.cpus=8")
def main(path: Path, out: Path, overrides: tuple[str, ...]) -> None:
    """Render Kubernetes manifests and a compose file from one file of values."""
    try:
        files = render(load_values(path, overrides), out)
    except (ValueError, OSError) as error:
        click.secho(f"Error: {error}", err=True, fg="red")
        sys.exit(1)
    click.echo("\n".join(str(file) for file in files))


if __name__ == "__main__":
    main()
