"""Kubernetes objects against the API's schemas, and against each other."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.compose import recipes
from deploy.render import objects
from deploy.render import render
from deploy.training import training_job
from serving.local_server.metrics import ServerMetrics
from serving.publishing.announce import announce_version
from serving.publishing.config import PusherConfig
from serving.publishing.serving_files import MONITORING
from serving.publishing.serving_files import server_flags

# What tensorflow_model_server 2.16 knows of (`model_servers/main.cc`).
KNOWN_FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_batching",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "max_num_load_retries",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
    "per_process_gpu_memory_fraction",
    "port",
    "rest_api_port",
    "ssl_config_file",
}
CRDS = {"service-monitor", "alerts"}
DEVICES = ("server.device=gpu", "server.device=cpu")


def container(found: dict[str, Any]) -> dict[str, Any]:
    (only,) = found["deployment"]["spec"]["template"]["spec"]["containers"]
    return only


def flags(found: dict[str, Any]) -> dict[str, str]:
    pairs = (flag.removeprefix("--").split("=", 1) for flag in container(found)["args"])
    return dict(pairs)


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
@pytest.mark.parametrize("device", DEVICES)
def test_what_is_written_fits_the_api(values, tmp_path, device, version):
    render(values(device), tmp_path)
    files = sorted((tmp_path / "kubernetes").glob("*.yaml"))
    assert len(files) == 9
    for file in files:
        if file.stem not in CRDS:
            document = yaml.safe_load(file.read_text())
            kubernetes_validate.validate(document, version, strict=True)


def test_the_check_finds_a_wrong_key(values):
    broken = objects(values())["deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.33", strict=True)


@pytest.mark.parametrize("gpus", [0, 2])
def test_workers_of_a_training_are_pods_of_the_api(values, gpus):
    job = training_job(values(f"training.gpus={gpus}", "training.workers=3"))
    (kind,) = job["spec"]["tfReplicaSpecs"]
    workers = job["spec"]["tfReplicaSpecs"][kind]
    assert (kind, workers["replicas"]) == ("Worker", 3)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **workers["template"]}
    kubernetes_validate.validate(pod, "1.33", strict=True)
    (only,) = pod["spec"]["containers"]
    assert only["resources"]["limits"].get("nvidia.com/gpu") == (str(gpus) if gpus else None)
    *command, arguments = only["command"]
    assert command == ["python", "-m", "models.trainer"]
    assert arguments.endswith("/model_run/arguments.json") and Path(arguments).is_relative_to(
        only["volumeMounts"][0]["mountPath"]
    )


def test_objects_refer_to_each_other(values):
    found = objects(values())
    deployment, service = found["deployment"], found["service"]
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert (
        found["disruption-budget"]["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    )
    target = found["autoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    names = {port["name"] for port in container(found)["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    assert len({(one["kind"], one["metadata"]["name"]) for one in found.values()}) == len(found)
    assert {one["metadata"]["namespace"] for one in found.values()} == {"recommender"}


def test_the_service_monitor_finds_the_service_and_its_page(values, tmp_path):
    """A resource of the Prometheus operator, which the API's own schemas do not have."""
    found = objects(values("monitoring.interval_seconds=7"))
    monitor, service = found["service-monitor"], found["service"]
    assert (monitor["apiVersion"], monitor["kind"]) == (
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
    )
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    chosen = monitor["spec"]["selector"]["matchLabels"]
    assert chosen.items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["interval"] == "7s"
    announce_version(tmp_path, 1, "m", PusherConfig())
    assert f'"{endpoint["path"]}"' in (tmp_path / MONITORING).read_text()


def test_the_autoscaler_asks_for_what_the_adapter_makes(values):
    found = objects(values("scale.queue_latency_ms=9"))
    (metric,) = found["autoscaler"]["spec"]["metrics"]
    (rule,) = yaml.safe_load(found["adapter-rules"]["data"]["config.yaml"])["rules"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert metric["pods"]["target"]["averageValue"] == "9"
    series = ServerMetrics().queuing_latency.name + "_bucket"
    assert rule["seriesQuery"].startswith(series + "{")
    assert series in rule["metricsQuery"]
    assert rule["metricsQuery"].endswith("/ 1000")  # TF Serving counts microseconds
    assert "replicas" not in found["deployment"]["spec"]  # or each `apply` would undo the scaling


@pytest.mark.parametrize("device", DEVICES)
def test_the_server_is_started_with_flags_that_it_has(values, device):
    found = flags(objects(values(device)))
    assert found.keys() <= KNOWN_FLAGS
    assert found["grpc_max_threads"] == "256"
    assert found["max_num_load_retries"] == "0"
    assert found["model_config_file_poll_wait_seconds"] == "10"
    assert found["allow_version_labels_for_unavailable_models"] == "true"


def test_the_readme_starts_a_server_with_the_same_flags():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (command,) = re.findall(r"```\n(tensorflow_model_server .*?)```", text, re.DOTALL)
    assert set(server_flags("<push_dir>/retrieval")) <= set(command.replace("\\\n", " ").split())


def test_the_server_reads_the_files_that_a_push_writes(values, tmp_path):
    announce_version(tmp_path, 1, "movielens-1m", PusherConfig())
    found = objects(values())
    (mount,) = (m for m in container(found)["volumeMounts"] if m["name"] == "models")
    files = [value for name, value in flags(found).items() if name.endswith("_file")]
    assert len(files) == 3
    for file in files:
        assert (tmp_path / Path(file).relative_to(mount["mountPath"])).is_file()
    assert mount["readOnly"]


def test_clients_and_prometheus_alone_may_ask(values):
    found = objects(values("network.client_namespace=web", "network.monitoring_namespace=prom"))
    policy, spec = found["network-policy"], found["network-policy"]["spec"]
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    pod = found["deployment"]["spec"]["template"]
    assert spec["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
    assert spec["policyTypes"] == ["Ingress", "Egress"] and spec["egress"] == []
    named = {port["name"] for port in container(found)["ports"]}
    clients, monitoring = spec["ingress"]
    namespace = "kubernetes.io/metadata.name"
    # One entry with two selectors: pods with the labels, in the namespace; two would be either.
    assert clients["from"] == [
        {
            "namespaceSelector": {"matchLabels": {namespace: "web"}},
            "podSelector": {"matchLabels": {"recommender-client": "true"}},
        }
    ]
    assert monitoring["from"] == [{"namespaceSelector": {"matchLabels": {namespace: "prom"}}}]
    assert [port["port"] for port in clients["ports"]] == ["grpc"]
    assert [port["port"] for port in monitoring["ports"]] == ["http"]
    assert {"grpc", "http"} == named


def test_a_policy_without_client_labels_is_refused(values):
    with pytest.raises(ValueError, match=r"network\.client_labels"):
        values("network.client_labels={}")


def test_tls_is_read_from_a_secret_where_one_is_named(values, tmp_path):
    assert "ssl_config_file" not in flags(objects(values()))
    settings = values("server.tls_secret=recommender-tls")
    found = objects(settings)
    path = Path(flags(found)["ssl_config_file"])
    (mount,) = (m for m in container(found)["volumeMounts"] if m["name"] == "tls")
    assert path.parent == Path(mount["mountPath"]) and mount["readOnly"]
    (volume,) = (
        v for v in found["deployment"]["spec"]["template"]["spec"]["volumes"] if v["name"] == "tls"
    )
    assert volume["secret"]["secretName"] == "recommender-tls"
    render(settings, tmp_path)
    document = yaml.safe_load((tmp_path / "kubernetes" / "deployment.yaml").read_text())
    kubernetes_validate.validate(document, "1.33", strict=True)


def test_the_readme_writes_certificates_as_tf_serving_reads_them(tmp_path):
    text = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
    (command,) = re.findall(r"```\n(pem\(\).*?)kubectl", text, re.DOTALL)
    fields = {"server_key": "server.key", "server_cert": "server.crt", "custom_ca": "ca.crt"}
    for name in fields.values():
        head = f"-----BEGIN {name}-----"
        (tmp_path / name).write_text(f"{head}\nMIIB+/=\nabc\n-----END {name}-----\n")
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    lines = (tmp_path / "ssl.config").read_text().splitlines()
    # Text of a protocol buffer escapes as JSON does here: a quoted line each.
    found = dict(line.split(": ", 1) for line in lines)
    assert found.pop("client_verify") == "true"
    assert {name: json.loads(value) for name, value in found.items()} == {
        name: (tmp_path / file).read_text() for name, file in fields.items()
    }


def test_the_memory_of_the_gpu_is_bounded_in_one_way_of_two(values):
    growing = objects(values())
    fixed = objects(values("gpu.allow_growth=false", "gpu.memory_fraction=0.8"))
    environment = {one["name"]: one["value"] for one in container(growing)["env"]}
    assert environment["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert "per_process_gpu_memory_fraction" not in flags(growing)
    assert flags(fixed)["per_process_gpu_memory_fraction"] == "0.8"
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in {one["name"] for one in container(fixed)["env"]}


def test_a_gpu_is_asked_for_on_gpu_nodes_alone(values):
    gpu, cpu = (objects(values(device)) for device in DEVICES)
    pods = [one["deployment"]["spec"]["template"]["spec"] for one in (gpu, cpu)]
    assert container(gpu)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pods[0]["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pods[0]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert not {"nodeSelector", "tolerations"} & pods[1].keys()
    assert set(container(cpu)["resources"]["limits"]) == {"memory"}
    assert container(gpu)["image"] == "vitrine-serving-gpu:0.1.0"
    assert container(cpu)["image"] == "vitrine-serving-cpu:0.1.0"


def test_memory_is_asked_for_in_full(values):
    found = objects(values("model.versions=1", "model.size_mib=900", "server.overhead_mib=200"))
    resources = container(found)["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "2000Mi"


def test_probes_ask_what_tf_serving_answers(values):
    one = container(objects(values("server.startup_seconds=61", "model.name=shop")))
    ready, alive = "/v1/models/shop/labels/stable/metadata", "/v1/models/shop"
    for probe, path in (
        ("startupProbe", ready),
        ("readinessProbe", ready),
        ("livenessProbe", alive),
    ):
        assert one[probe]["httpGet"] == {"path": path, "port": "http"}
    assert one["startupProbe"]["failureThreshold"] * one["startupProbe"]["periodSeconds"] == 65


def test_a_pod_leaves_the_service_before_it_ends(values):
    found = objects(values("server.drain_seconds=45"))
    sleep = container(found)["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == ["sleep", "45"]
    pod = found["deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 45


def test_a_server_is_nobody_and_writes_nowhere(values):
    found = objects(values())
    pod = found["deployment"]["spec"]["template"]["spec"]
    security = container(found)["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert not pod["automountServiceAccountToken"]
    writable = [m["name"] for m in container(found)["volumeMounts"] if not m.get("readOnly")]
    kinds = {v["name"]: set(v) - {"name"} for v in pod["volumes"]}
    assert [kinds[name] for name in writable] == [{"emptyDir"}]


def test_the_dashboard_shows_metrics_that_tf_serving_has(values):
    found = objects(values())["dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = found["data"].values()
    board = json.loads(text)
    known = set(re.findall(r"# TYPE (\S+)", ServerMetrics().text()))
    shown = set()
    for panel in board["panels"]:
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
            assert 'namespace="recommender",service="movielens-1m"' in target["expr"]
            shown |= set(re.findall(r":tensorflow:[a-z_:]+", target["expr"]))
    assert {name.removesuffix("_bucket") for name in shown} <= known
    assert len(shown) >= 6
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]})


def test_every_image_of_the_values_has_a_recipe(values):
    images = values().images.model_dump().keys() - {"pull_policy"}
    assert images == recipes(values()).keys()


def test_alerts_read_metrics_that_there_are_and_each_has_a_runbook(values):
    found = objects(values("monitoring.error_share=0.05", "monitoring.latency_p99_ms=70"))
    rules = found["alerts"]
    assert (rules["apiVersion"], rules["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    [group] = rules["spec"]["groups"]
    expressions = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert expressions["RequestsFail"].endswith(" > 0.05")
    assert 'status!="OK"' in expressions["RequestsFail"].partition("/")[0]
    assert 'status!="OK"' not in expressions["RequestsFail"].partition("/")[2]
    assert expressions["RequestsAreSlow"].endswith(" / 1000 > 70")  # of microseconds
    known = set(re.findall(r"# TYPE (\S+)", ServerMetrics().text()))
    text = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
    for rule in group["rules"]:
        assert 'namespace="recommender",service="movielens-1m"' in rule["expr"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
        shown = set(re.findall(r":tensorflow:[a-z_:]+", rule["expr"]))
        assert {name.removesuffix("_bucket") for name in shown} <= known
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{rule['alert'].lower()}"
        assert f"\n### {rule['alert']}\n" in text
