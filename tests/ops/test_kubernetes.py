"""The manifests: lawful for Kubernetes, for Ray Serve and for Segue, and their references lead somewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from configs.environment import load_settings
from serve_app.system.demands import demand, shortages
from tests.ops.files import OPS, ROOT, deploy_file_settings, documents

FILES = sorted(path.name for path in (OPS / "kubernetes").glob("*.yaml"))
ALL = [document for name in FILES for document in documents(f"kubernetes/{name}")]
CUSTOM = ("ray.io", "monitoring.coreos.com")
STANDARD = [document for document in ALL if document["apiVersion"].partition("/")[0] not in CUSTOM]
"""The others' schemas come with their operators."""

VERSION = "1.30"
"""The oldest that is looked at."""

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own imports


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in ALL if document["kind"] == kind}


SERVICE = of_kind("RayService")["segue"]
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]
DEPLOY_FILE = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])
GROUPS = {"head": CLUSTER["headGroupSpec"], "worker": WORKERS}


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for group, spec in GROUPS.items():
        yield group, spec["template"]
    yield "weights", of_kind("Job")["segue-weights"]["spec"]["template"]


@pytest.mark.parametrize("document", STANDARD, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
@pytest.mark.parametrize("version", [VERSION, kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_manifest(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("template", [pytest.param(pod, id=name) for name, pod in pods()])
def test_pods_are_lawful_without_privileges_and_with_a_pinned_image(template: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", **template["metadata"]}}
    kubernetes_validate.validate({**pod, "spec": template["spec"]}, VERSION, strict=True)
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert f"--uid {spec['securityContext']['runAsUser']} " in (OPS / "Dockerfile").read_text()
    (container,) = spec["containers"]
    assert container["image"].endswith("/segue:0.1.0-cuda")
    assert container["resources"]["limits"]["memory"] >= container["resources"]["requests"]["memory"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_what_pods_refer_to_is_there() -> None:
    settings, secrets = of_kind("ConfigMap")["segue"]["data"], of_kind("Secret")["segue"]["stringData"]
    environ: dict[str, str] = {}
    for _, template in pods():
        (container,) = template["spec"]["containers"]
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                environ[variable["name"]] = secrets[source["secretKeyRef"]["key"]]
            elif source:
                environ[variable["name"]] = settings[source["configMapKeyRef"]["key"]]
        for volume in template["spec"]["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in of_kind("PersistentVolumeClaim")
    read = deploy_file_settings(DEPLOY_FILE, **environ)
    assert read.storage.url == settings["storage"]
    assert read.storage.endpoint_url == settings["endpoint_url"]
    assert [key.tenant for key in read.access.keys] == ["studio"]
    assert {document["metadata"].get("namespace", "segue") for document in ALL} == {"segue"}


def test_serve_and_segue_take_the_application() -> None:
    import ray
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(DEPLOY_FILE)
    assert CLUSTER["rayVersion"] == ray.__version__
    reference = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    named, known = (
        {deployment["name"] for deployment in each["applications"][0]["deployments"]}
        for each in (DEPLOY_FILE, reference)
    )
    assert named == known
    settings = load_settings({}, profile="cluster", environ={})
    assert settings.events.max_stream_s < DEPLOY_FILE["http_options"]["request_timeout_s"]


def test_the_first_replicas_fit_on_the_workers_and_the_rest_as_they_grow() -> None:
    deployments = DEPLOY_FILE["applications"][0]["deployments"]
    start, params = WORKERS["rayStartParams"], WORKERS["template"]["spec"]["containers"][0]["resources"]
    node = {"CPU": float(start["num-cpus"]), "GPU": float(start["num-gpus"])}
    assert start["num-cpus"] == params["requests"]["cpu"]
    assert start["num-gpus"] == params["limits"]["nvidia.com/gpu"]
    assert (
        shortages([demand(each["name"], each) for each in deployments], [node] * WORKERS["minReplicas"]) == []
    )
    most = [
        each
        | {"num_replicas": each.get("autoscaling_config", {}).get("max_replicas", each.get("num_replicas"))}
        for each in deployments
    ]
    assert shortages([demand(each["name"], each) for each in most], [node] * WORKERS["maxReplicas"]) == []
    assert math.isclose(float(CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"]), 0.0)


def test_ports_labels_and_services_fit_together() -> None:
    ports = {
        group: {
            port["name"]: port["containerPort"] for port in spec["template"]["spec"]["containers"][0]["ports"]
        }
        for group, spec in GROUPS.items()
    }
    labels = {group: spec["template"]["metadata"]["labels"] for group, spec in GROUPS.items()}
    for group, spec in GROUPS.items():
        assert ports[group]["metrics"] == int(spec["rayStartParams"]["metrics-export-port"])
        assert ports[group]["serve"] == DEPLOY_FILE["http_options"]["port"]
    for budget in of_kind("PodDisruptionBudget").values():
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        assert [group for group, given in labels.items() if wanted <= given.items()]
    policy = of_kind("NetworkPolicy")["segue"]["spec"]
    assert all(policy["podSelector"]["matchLabels"].items() <= given.items() for given in labels.values())
    opened = {port["port"] for rule in policy["ingress"] for port in rule.get("ports", ())}
    assert opened == {ports["head"][name] for name in ("serve", "metrics", "dashboard")}
    (monitor,) = of_kind("PodMonitor").values()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels["worker"].items()
    for kind, endpoints in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
        for each in of_kind(kind).values():
            assert {endpoint["port"] for endpoint in each["spec"][endpoints]} <= ports["worker"].keys()
    (rule,) = of_kind("Ingress")["segue"]["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {
        "name": f"{SERVICE['metadata']['name']}-serve-svc",
        "port": {"number": ports["head"]["serve"]},
    }


def test_a_replica_may_end_its_work_before_its_pod_is_killed() -> None:
    slowest_s = max(
        each.get("graceful_shutdown_timeout_s", 20) for each in DEPLOY_FILE["applications"][0]["deployments"]
    )
    assert WORKERS["template"]["spec"]["terminationGracePeriodSeconds"] > slowest_s
