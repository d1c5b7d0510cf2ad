"""Kubernetes manifests of kustomize and of the Helm chart: valid, without unneeded rights, and served by a router."""

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from router import __version__
from router.commands import parser
from router.config import declare, read
from router.drill import drilled
from tests.deploy.linters import CALLER, CHART, DEPLOY, SECRETS, documents, helm, kustomized, misfits, one, rendered, secrets_in
from tests.support.process import process

OLDEST, NEWEST = "1.30.0", "1.37.0"
DRILLS = "drills:\n  - {name: it, ask: {model: gpt-4}, expect: {served_by: demo}}\n"
ALL_OF_IT: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "registry"}]},
    "config": {"drills": DRILLS, "tools": {"clock.py": "def now() -> str:\n    return ''\n"}},
    "secrets": {"existingSecret": "router-secrets"},
    "env": [{"name": "TZ", "value": "UTC"}],
    "autoscaling": {"enabled": True},
    "networkPolicy": {"egress": [{"to": [{"podSelector": {"matchLabels": {"app": "ollama"}}}]}]},
    "service": {"annotations": {"a": "b"}},
    "ingress": {"enabled": True, "className": "nginx", "annotations": {"a": "b"}, "tlsSecret": "tls"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}
WAYS: dict[str, Callable[[], str]] = {"kustomize": kustomized, "helm": rendered, "helm, all of it": lambda: rendered(**ALL_OF_IT)}
ENDING = 15
"""Seconds after `drain` in which a router may still be ending: see LAST_WORDS in router/answering/kept.py."""


@pytest.fixture(params=WAYS)
def manifests(request: pytest.FixtureRequest) -> str:
    """Return the manifests made in one of three ways: by kustomize, by the Helm chart with its defaults, or with every option."""
    return WAYS[request.param]()


def pod(manifests: str) -> dict[str, Any]:
    """Return the pod specification of the Deployment."""
    return one("Deployment", manifests)["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_objects_fit_their_schema(manifests: str, version: str) -> None:
    """Every object fits the strict schema of the oldest and the newest supported Kubernetes version."""
    assert misfits(manifests, version) == []


def test_kubernetes_schema_finds_a_mistake() -> None:
    """The schema reports a misspelt key, a missing key and a wrong type."""
    text = (DEPLOY / "kubernetes" / "deployment.yaml").read_text()
    assert misfits(text, NEWEST) == []
    for old, new in [("readinessProbe:", "readyProbe:"), ("containerPort: 8000", "name2: x"), ("Seconds: 60", 'Seconds: "60"')]:
        assert old in text
        assert misfits(text.replace(old, new), NEWEST)


def test_kubernetes_selectors_match_the_routers_pods_only(manifests: str) -> None:
    """All selectors equal the labels of the router's pods, and all objects except ConfigMaps have the same name."""
    deployment = one("Deployment", manifests)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        one("Service", manifests)["spec"]["selector"],
        one("PodDisruptionBudget", manifests)["spec"]["selector"]["matchLabels"],
        one("NetworkPolicy", manifests)["spec"]["podSelector"]["matchLabels"],
    ]
    assert {tuple(sorted(selector.items())) for selector in selectors} == {tuple(sorted(labels.items()))}
    names = {document["metadata"]["name"] for document in documents(manifests) if document["kind"] != "ConfigMap"}
    assert len(names) == 1
    assert pod(manifests)["serviceAccountName"] in names


def test_pod_has_no_unneeded_rights(manifests: str) -> None:
    """The pod runs as user 65532 on a read-only file system, without capabilities, token or host namespaces (security.md 43)."""
    spec = pod(manifests)
    [container] = spec["containers"]
    assert spec["securityContext"] | {"fsGroup": 0} == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert one("ServiceAccount", manifests)["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {"configMap", "secret", "emptyDir"}
    assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] != "tmp")
    assert not [mount for mount in container["volumeMounts"] if "subPath" in mount]  # it would not see an edit
    assert container["resources"]["limits"]["memory"]


def test_network_policy_blocks_cluster_and_metadata_addresses(manifests: str) -> None:
    """The rule for port 443 of the internet excludes 10.0.0.0/8 and link-local addresses; each ingress rule names its sources."""
    spec = one("NetworkPolicy", manifests)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert all("from" in rule for rule in spec["ingress"])
    [wide] = [rule for rule in spec["egress"] if any("ipBlock" in to for to in rule["to"])]
    assert wide["ports"] == [{"protocol": "TCP", "port": 443}]
    four = next(to["ipBlock"] for to in wide["to"] if "." in to["ipBlock"]["cidr"])
    assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(four["except"])


def test_termination_grace_period_covers_the_drain(manifests: str, tmp_path: Path) -> None:
    """The termination grace period covers preStop, the configured `drain` and 15 s more."""
    spec = pod(manifests)
    [container] = spec["containers"]
    laid_out(manifests, tmp_path / "etc", {"routes.yaml": secrets_in(tmp_path / "secrets")})
    declared = declare(read(tmp_path / "etc" / "routes.yaml"), {}, "0.0.0.0")  # noqa: S104
    assert declared.complaints.in_order() == ()
    drain = declared.routes.server.drain
    assert spec["terminationGracePeriodSeconds"] >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain + ENDING


def test_container_is_started_by_a_valid_command_line(manifests: str) -> None:
    """The parser accepts the container's arguments as `serve` with the mounted routes.yaml, on the port that the container declares."""
    [container] = pod(manifests)["containers"]
    given = parser().parse_args(container["args"])
    assert (given.command, str(given.routes), given.host) == ("serve", "/etc/router/routes.yaml", "0.0.0.0")  # noqa: S104
    assert [port["containerPort"] for port in container["ports"]] == [given.port]
    assert "/etc/router" in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_keys_are_mounted_where_the_configuration_reads_them() -> None:
    """All references in the configuration name files of the mounted Secret, and the container has no environment variables."""
    manifests = kustomized()
    [container] = pod(manifests)["containers"]
    assert not {"env", "envFrom"} & container.keys()
    assert SECRETS in [mount["mountPath"] for mount in container["volumeMounts"]]
    named = re.findall(r"\$\{([^}]*)\}", one("ConfigMap", manifests)["data"]["routes.yaml"])
    assert named
    assert all(name.startswith(f"file:{SECRETS}/") for name in named)


def test_kubernetes_manifests_name_the_image_of_this_version(manifests: str) -> None:
    """The container's image has this version's tag or the given digest, and the chart's appVersion is this version."""
    [container] = pod(manifests)["containers"]
    assert container["image"] in (f"pointsman:{__version__}", "pointsman@sha256:" + "0" * 64)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


async def test_mounted_config_map_is_served_and_its_edit_goes_live(manifests: str, tmp_path: Path) -> None:
    """A router over the ConfigMap, mounted as the kubelet does it, answers its probes, and an edit of the ConfigMap goes live."""
    [container] = pod(manifests)["containers"]
    here = secrets_in(tmp_path / "secrets")
    laid_out(manifests, tmp_path / "etc", {"routes.yaml": here})
    async with process(tmp_path / "etc") as router:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert (await router.get(container[probe]["httpGet"]["path"]))[0] == 200
        before = (await router.get("/readyz"))[1]["generation"]
        laid_out(manifests, tmp_path / "etc", {"routes.yaml": lambda text: here(text).replace("[gpt-4]", "[gpt-4, gpt-new]")})
        async with asyncio.timeout(240):
            while (await router.get("/readyz"))[1]["generation"] == before:
                await asyncio.sleep(0.05)
        body = {"model": "gpt-new", "messages": [{"role": "user", "content": "Hi"}]}
        assert (await router.post("/api/chat", body))[0] == 401
        status, said = await router.post("/api/chat?protocol=line", body, authorization=f"Bearer {CALLER}")
        assert (status, '"finishReason":"stop"' in said) == (200, True)


def test_each_file_of_the_configuration_is_in_the_config_map_and_each_key_is_mounted() -> None:
    """The ConfigMap of kustomize holds every file of deploy/config but kustomization.yaml, and the pod mounts each of its keys."""
    files = [path.relative_to(DEPLOY / "config").as_posix() for path in sorted((DEPLOY / "config").rglob("*")) if path.is_file()]
    files.remove("kustomization.yaml")
    manifests = kustomized()
    items = _items(manifests)
    data = one("ConfigMap", manifests)["data"]
    assert sorted(items.values()) == files
    assert items.keys() == data.keys()
    assert all(data[key] == (DEPLOY / "config" / path).read_text() for key, path in items.items())


def test_drills_in_the_config_map_are_mounted_and_pass(tmp_path: Path) -> None:
    """The mounted drills pass: those of deploy/config with kustomize, those of `config.drills` with Helm, whose default is none."""
    found: dict[str, list[str]] = {}
    for way, make in WAYS.items():
        laid_out(make(), tmp_path / way, {"routes.yaml": secrets_in(tmp_path / "secrets")})
        declared = declare(read(tmp_path / way / "routes.yaml"), {}, "0.0.0.0")  # noqa: S104
        assert declared.complaints.in_order() == ()
        results = drilled(declared)
        assert [one for one in results if one.faults] == []
        found[way] = [str(one.place.file) for one in results if one.place]
    assert found == {"kustomize": ["drills.yaml"] * 2, "helm": [], "helm, all of it": ["drills.yaml"]}


def test_helm_and_kustomize_create_the_same_pod() -> None:
    """The Helm chart and kustomize create equal pods, update strategies, autoscalers and network policies, apart from names and images."""
    chart = rendered(secrets={"existingSecret": "router-secrets"}, autoscaling={"enabled": True})

    def shape(manifests: str) -> dict[str, Any]:
        spec = pod(manifests)
        [container] = spec["containers"]
        del container["imagePullPolicy" if "imagePullPolicy" in container else "image"]
        del spec["serviceAccountName"], spec["topologySpreadConstraints"][0]["labelSelector"]
        return {"pod": spec, "strategy": one("Deployment", manifests)["spec"]["strategy"]}

    ours, charts = shape(kustomized()), shape(chart)
    for made in (ours, charts):
        [container] = made["pod"]["containers"]
        container.pop("image", None)
        for volume in made["pod"]["volumes"]:
            volume.get("configMap", {}).clear()
    assert charts == ours
    for kind in ("HorizontalPodAutoscaler", "NetworkPolicy"):
        spec_of = [one(kind, manifests)["spec"] for manifests in (kustomized(), chart)]
        for spec in spec_of:
            spec.pop("podSelector", None)
            spec.pop("scaleTargetRef", None)
        assert spec_of[0] == spec_of[1]


def test_helm_lint_reports_nothing() -> None:
    """The strict `helm lint` reports no error for the default values and for all options."""
    assert helm("lint", {}) == {"errors": []}
    assert helm("lint", ALL_OF_IT) == {"errors": []}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"replica": 3}, "replica"),
        ({"config": {"routes": ""}}, "routes"),
        ({"config": {"pipelines": {"a/b.yaml": ""}}}, "a/b.yaml"),
        ({"shutdown": {"drain": "30s"}}, "drain"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"config": {"existingConfigMap": "mine"}}, "config.keys says where"),
        ({"config": {"existingConfigMap": "mine", "keys": {"a": "../a"}}}, "keys"),
    ],
)
def test_invalid_helm_values_are_refused(values: dict[str, Any], why: str) -> None:
    """Values with an unknown key, an empty configuration or a wrong format are refused with a message that names the value."""
    made = helm("render", values)
    assert why in made["refused"]


def test_existing_config_map_is_mounted_with_its_declared_keys() -> None:
    """The chart mounts the ConfigMap of `config.existingConfigMap` by the declared keys, and creates none."""
    keys = {"routes.yaml": "routes.yaml", "chat": "pipelines/chat.yaml"}
    manifests = rendered(config={"existingConfigMap": "mine", "keys": keys})
    assert _items(manifests) == keys
    assert "ConfigMap" not in [document["kind"] for document in documents(manifests)]


def test_each_helm_value_is_in_the_schema_and_explained() -> None:
    """The keys of values.yaml and values.schema.json are the same, and the router's own values have a comment above them."""
    text = (CHART / "values.yaml").read_text()
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load(text)
    assert values.keys() == schema["properties"].keys() - {"global"}
    for name, value in values.items():
        if inner := schema["properties"][name].get("properties"):
            assert value.keys() == inner.keys(), name
    for name in (
        "routes",
        "drills",
        "pipelines",
        "tools",
        "keys",
        "existingConfigMap",
        "existingSecret",
        "openStreams",
        "from",
        "drain",
        "tag",
        "digest",
    ):
        at = text.index(f"  {name}:")
        above = text[:at].rstrip().splitlines()[-1].strip()
        assert above.startswith("#") or name == "drain", name


def _items(manifests: str) -> dict[str, str]:
    [volume] = [volume for volume in pod(manifests)["volumes"] if volume["name"] == "config"]
    return {item["key"]: item["path"] for item in volume["configMap"]["items"]}


def laid_out(manifests: str, folder: Path, edits: Mapping[str, Callable[[str], str]] | None = None) -> None:
    """Write the ConfigMap as the kubelet does: into a new folder, to which the link `..data` is then turned. `edits`: key → edit."""
    data = one("ConfigMap", manifests)["data"]
    items = _items(manifests)
    folder.mkdir(exist_ok=True)
    fresh = folder / f"..{len(list(folder.iterdir()))}"
    for key, path in items.items():
        file = fresh / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((edits or {}).get(key, str)(data[key]))
        top = folder / Path(path).parts[0]
        if not top.is_symlink():
            top.symlink_to(Path("..data", Path(path).parts[0]))
    (folder / "..turning").symlink_to(fresh.name)
    os.rename(folder / "..turning", folder / "..data")  # noqa: PTH104
