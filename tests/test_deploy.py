"""What lies in deploy/ agrees with the service: commands, probes, times, limits, metrics, files."""

from __future__ import annotations

import json
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from restora.byte_size import parse_size
from restora.cli.app import make_command
from restora.serve import ServeOptions, Service, create_app

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
PACKED = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "restora.json").read_text())


def instructions_of(dockerfile: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) with continued lines joined and comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(w[0], w[1]) for line in joined.splitlines() if len(w := line.split(" ", 1)) == 2]


def values(dockerfile: Path, instruction: str) -> list[str]:
    return [rest for name, rest in instructions_of(dockerfile) if name == instruction]


def workloads() -> list[dict[str, Any]]:
    documents = [d for path in MANIFESTS for d in yaml.safe_load_all(path.read_text())]
    return [d for d in documents if d["kind"] in ("Deployment", "StatefulSet")]


def containers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pod and container of each service."""
    pods = [workload["spec"]["template"]["spec"] for workload in workloads()]
    return [(pod, container) for pod in pods for container in pod["containers"]]


def commands() -> list[list[str]]:
    """The words of every restora command that an image, a manifest or compose runs."""
    found = [json.loads(rest) for path in DOCKERFILES for rest in values(path, "CMD")
             if not rest.startswith("HEALTHCHECK")]  # fmt: skip
    for workload in workloads():
        pod = workload["spec"]["template"]["spec"]
        found += [c["args"] for c in (*pod["containers"], *pod.get("initContainers", ()))]
    for name, service in COMPOSE["services"].items():
        if name.startswith("restora") or name == "triton-models":
            found += [service["command"]] if "command" in service else []
    for path in DOCKERFILES:
        text = path.read_text().replace("\\\n#", " ")
        for line in re.findall(
            r"restora(?:-serve|-triton|-jetson)?(?:-gpu)? +\\?\s*(restore .*)", text
        ):
            found.append(shlex.split(line))
    return found


def test_there_is_something_to_check() -> None:
    assert len(DOCKERFILES) == 5
    assert len(MANIFESTS) == 2
    assert len(containers()) == 2
    assert len(commands()) >= 7


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_exists_with_its_options(words: list[str]) -> None:
    root = make_command().load_all()

    def empty(command: Any) -> None:
        command.callback = lambda **_values: None
        for inner in getattr(command, "commands", {}).values():
            empty(inner)

    empty(root)
    root(args=words, prog_name="restora", standalone_mode=False)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_is_built_from_all_that_the_wheel_packs(path: Path) -> None:
    copied = " ".join(values(path, "COPY")).split()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for package in PACKED:
        assert package.split("/")[0] in copied, package
        assert f"!{package.split('/')[0]}" in ignored
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        assert name in copied
        assert f"!{name}" in ignored


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_installs_extras_that_exist(path: Path) -> None:
    named = [rest for rest in values(path, "ARG") if rest.startswith("EXTRA")]
    chosen = {extra for rest in named if "=" in rest for extra in rest.split("=")[1].split(",")}
    assert chosen <= EXTRAS.keys()
    if path.stem.startswith("service"):
        assert "serve" in chosen


@pytest.mark.parametrize("name", ["service", "service-gpu"])
def test_an_image_of_the_service_runs_as_a_user_and_is_watched(name: str) -> None:
    path = DEPLOY / f"{name}.Dockerfile"
    assert values(path, "USER") == ["10001"]
    assert values(path, "STOPSIGNAL") == ["SIGTERM"]
    assert values(path, "EXPOSE") == ["8000"]
    (check,) = values(path, "HEALTHCHECK")
    assert "http://127.0.0.1:8000/health/live" in check
    (command,) = values(path, "CMD")
    assert "--tokens" in json.loads(command)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    service = Service(ServeOptions(spool=tmp_path_factory.mktemp("spool")))
    metrics = service.metrics  # series appear with their labels once they are counted
    metrics.http_requests.labels("/v1/restore", "POST", "200")
    metrics.http_seconds.labels("/v1/restore")
    metrics.problems.labels("option")
    metrics.drops.labels("client-gone")
    metrics.stage_seconds.labels("decode")
    metrics.photos.labels("tiny", "restored")
    metrics.pixels.labels("in")
    metrics.faces.labels("restored")
    return service


def paths_of(service: Service) -> set[str]:
    return {str(getattr(route, "path", "")) for route in create_app(service).routes}


def seconds(arguments: list[str], option: str) -> float:
    return float(next(a for a in arguments if a.startswith(f"{option}=")).split("=")[1])


@pytest.mark.parametrize(("pod", "container"), containers(), ids=["cpu", "gpu"])
def test_probes_ask_the_service_and_its_end_is_waited_for(
    pod: dict[str, Any], container: dict[str, Any], service: Service
) -> None:
    known = paths_of(service)
    probes = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")
    }
    assert {probe["path"] for probe in probes.values()} <= known
    assert probes["liveness"]["path"] == "/health/live"
    assert probes["readiness"]["path"] == "/health/ready"
    assert {probe["port"] for probe in probes.values()} == {"http"}
    (port,) = container["ports"]
    assert f"--port={port['containerPort']}" in container["args"]
    drains = seconds(container["args"], "--drain-delay") + seconds(
        container["args"], "--drain-timeout"
    )
    assert pod["terminationGracePeriodSeconds"] > drains
    # endpoints have to learn that the pod is not ready before it stops
    readiness = container["readinessProbe"]
    assert seconds(container["args"], "--drain-delay") > (
        readiness["periodSeconds"] * readiness["failureThreshold"]
    )


@pytest.mark.parametrize(("pod", "container"), containers(), ids=["cpu", "gpu"])
def test_a_container_has_less_memory_for_photos_than_its_limit(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    given = next(a for a in container["args"] if a.startswith("--memory=")).split("=")[1]
    limit = parse_size(container["resources"]["limits"]["memory"].removesuffix("i"))
    assert parse_size(given) <= 0.8 * limit
    assert (
        container["resources"]["requests"]["memory"] == (container["resources"]["limits"]["memory"])
    )


@pytest.mark.parametrize(("pod", "container"), containers(), ids=["cpu", "gpu"])
def test_a_container_writes_only_where_a_volume_is(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/tmp", "/cache", "/etc/restora"} <= mounted
    assert "--tokens=/etc/restora/tokens" in container["args"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for workload in workloads():
        volumes |= {c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", ())}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def disk_of(arguments: list[str]) -> int:
    """Bytes of all uploads that may wait, and of the results that are kept."""
    words = [word for argument in arguments for word in str(argument).split("=")]
    given = dict(pairwise(words))
    uploads = int(given.get("--queue", ServeOptions().queue)) * parse_size(given["--max-file-size"])
    return uploads + parse_size(given.get("--keep-size", "1G"))


@pytest.mark.parametrize(("pod", "container"), containers(), ids=["cpu", "gpu"])
def test_uploads_and_kept_results_fit_into_their_volume(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    """A pod that exceeds it is evicted."""
    (size,) = [v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v["name"] == "tmp"]
    assert disk_of(container["args"]) <= 0.8 * parse_size(size.removesuffix("i"))


@pytest.mark.parametrize("name", ["restora", "restora-gpu"])
def test_uploads_and_kept_results_fit_into_the_memory_that_holds_them(name: str) -> None:
    service = COMPOSE["services"][name]
    (mount,) = service["tmpfs"]
    size = parse_size(mount.partition("size=")[2])
    assert disk_of(service["command"]) <= size
    if "mem_limit" in service:
        photos = parse_size(service["environment"]["RESTORA_MEMORY"])
        assert photos + size < parse_size(service["mem_limit"])


def test_compose_waits_for_the_end_of_the_service_and_declares_what_it_mounts() -> None:
    services = COMPOSE["services"]
    for name in ("restora", "restora-gpu"):
        grace = float(services[name]["stop_grace_period"].removesuffix("s"))
        assert grace > ServeOptions().drain_timeout_s
        assert services[name]["secrets"] == ["restora-tokens"]
    limit = parse_size(services["restora"]["mem_limit"])
    assert parse_size(services["restora"]["environment"]["RESTORA_MEMORY"]) <= 0.8 * limit
    for one in services.values():
        for mount in one.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), source
            else:
                assert source in COMPOSE["volumes"], source
        assert set(one.get("secrets", ())) <= COMPOSE["secrets"].keys()
        if "build" in one:
            assert (ROOT / one["build"]["dockerfile"]).is_file()
        for port in one.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "nothing is open to other machines"


def test_prometheus_scrapes_the_service_with_its_token() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in COMPOSE["services"]
    assert int(port) == ServeOptions().port
    secret = job["authorization"]["credentials_file"].removeprefix("/run/secrets/")
    assert secret in COMPOSE["services"]["prometheus"]["secrets"]


def exported(service: Service) -> set[str]:
    """The names of all series that the service exports."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    names: set[str] = set()
    for metric in service.metrics.registry.collect():
        for ending in endings.get(metric.type, ("", "_info")):
            names.add(metric.name + ending)
    return names


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_the_dashboard_asks_for_metrics_that_the_service_exports(service: Service) -> None:
    asked = {name for e in expressions() for name in re.findall(r"\b(?:restora|process)_\w+", e)}
    assert len(asked) > 20
    assert asked - exported(service) == set()


def test_the_dashboard_shows_every_metric_of_the_service(service: Service) -> None:
    text = " ".join(expressions())
    for metric in service.metrics.registry.collect():
        if metric.name.startswith("restora_") and metric.name != "restora_kept_results":
            assert metric.name in text, metric.name


def test_the_dashboard_groups_by_labels_that_exist(service: Service) -> None:
    labels: dict[str, set[str]] = {}
    for metric in service.metrics.registry.collect():
        for sample in metric.samples:
            labels.setdefault(metric.name, set()).update(sample.labels)
    for expression in expressions():
        for name, found in labels.items():
            if found and re.search(rf"\b{name}(_total|_bucket|_sum|_count)?\b", expression):
                grouped = set(re.findall(r"by \(([^)]*)\)", expression)) - {"le", "instance"}
                for group in grouped:
                    assert set(re.split(r",\s*", group)) <= found | {"le", "instance"}, expression


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
