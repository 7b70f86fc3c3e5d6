"""The compose file: lawful, its references lead somewhere, its variables are settings."""

from __future__ import annotations

from typing import Any

import compose_spec
import pytest
import yaml

from tests.ops.files import OPS, deploy_file_settings, documents, interpolated, is_pinned, variables_of

TEXT = (OPS / "compose.yaml").read_text()
EXAMPLE = variables_of((OPS / "compose.env.example").read_text())


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(interpolated(TEXT, EXAMPLE))


def test_it_keeps_to_the_specification() -> None:
    compose_spec.PyCompose.from_yaml(interpolated(TEXT, EXAMPLE)).validate()


@pytest.mark.parametrize("name", EXAMPLE)
def test_what_has_no_good_default_must_be_given(name: str) -> None:
    left = {key: value for key, value in EXAMPLE.items() if key != name}
    if f"${{{name}:?" in TEXT:
        with pytest.raises(KeyError):
            interpolated(TEXT, left)
    else:
        interpolated(TEXT, left)


def test_images_are_pinned_and_ports_are_on_loopback(compose: Any) -> None:
    for name, service in compose["services"].items():
        assert is_pinned(service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_references_lead_somewhere(compose: Any) -> None:
    services, volumes = compose["services"], compose["volumes"]
    mounted: set[str] = set()
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (OPS / source).is_file(), source
            else:
                mounted.add(source)
    assert mounted == set(volumes)
    build = services["segue"]["build"]
    assert (OPS / build["context"] / build["dockerfile"]).is_file()


def test_prometheus_and_grafana_find_each_other_and_segue(compose: Any) -> None:
    services = compose["services"]
    (prometheus,) = documents("prometheus/prometheus.yaml")
    inside = {volume.split(":")[1]: volume.split(":")[0] for volume in services["prometheus"]["volumes"]}
    (scrape,) = prometheus["scrape_configs"]
    (found,) = scrape["file_sd_configs"][0]["files"]
    shared = found.rpartition("/")[0]
    assert f"{inside[shared]}:/tmp/ray" in services["segue"]["volumes"]
    assert all(rules in inside for rules in prometheus["rule_files"])
    (source,) = documents("grafana/datasource.yaml")[0]["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = documents("grafana/dashboards.yaml")[0]["providers"]
    assert any(f":{provider['options']['path']}/" in volume for volume in services["grafana"]["volumes"])


def test_segue_takes_its_variables_and_reaches_the_bucket(compose: Any) -> None:
    service = compose["services"]["segue"]
    (deploy_file,) = documents("one_machine.yaml")
    settings = deploy_file_settings(deploy_file, **service["environment"])
    assert settings.storage.url == "s3://segue/studio"
    assert settings.storage.endpoint_url == "http://s3:8333"
    assert "-s3.port=8333" in compose["services"]["s3"]["command"]
    assert 'Bucket="segue"' in compose["services"]["bucket"]["command"][0]
    assert [key.tenant for key in settings.access.keys] == ["studio"]
    assert service["command"] == ["/etc/segue/one_machine.yaml"]
    container = service["ports"][0].rpartition(":")[2]
    assert container == str(deploy_file["http_options"]["port"])
