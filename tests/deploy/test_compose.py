"""deploy/compose.yaml: it is valid, its paths and addresses exist, and its nginx is the one that is tested."""

import re
import shutil
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from router import __version__
from router.commands import parser
from router.config import declare, read
from router.config.server import Auth
from router.generation import build
from tests.deploy.edge import upstreams
from tests.deploy.linters import DEPLOY, SECRETS, linter, output_of, secrets_in
from tests.support.services import program, run

ENDING = 15
"""Seconds after `drain` in which a router may still be ending."""


def compose() -> dict[str, Any]:
    """Return the contents of deploy/compose.yaml, with its anchors resolved."""
    return cast("dict[str, Any]", yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def routers() -> dict[str, dict[str, Any]]:
    """Return the services of deploy/compose.yaml that are routers."""
    return {name: service for name, service in compose()["services"].items() if name.startswith("router-")}


def seconds(written: str) -> int:
    """Return the seconds of a duration as compose.yaml writes it."""
    return int(written.removesuffix("s"))


def test_compose_file_fits_the_specification(tmp_path: Path) -> None:
    """The file compose.yaml is valid by the schema of the Compose specification; a misspelt key in it is not."""
    schema = (linter("check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    output_of(*schema, str(DEPLOY / "compose.yaml"))
    (tmp_path / "compose.yaml").write_text((DEPLOY / "compose.yaml").read_text().replace("stop_grace_period:", "stop_grace:"))
    with pytest.raises(AssertionError, match="stop_grace"):
        output_of(*schema, str(tmp_path / "compose.yaml"))


def test_compose_services_have_no_unneeded_rights() -> None:
    """Each service has a pinned image, a read-only file system and no capabilities; only nginx adds some and publishes ports."""
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "network_mode", "pid", "devices"} & service.keys(), name
        assert service["logging"] == {"driver": "local"}, name
        assert all(volume.endswith(":ro") for volume in service.get("volumes", ())), name
        digest = "" if service["image"].startswith("pointsman:") else "@sha256:[0-9a-f]{64}"
        assert re.search(rf":\d[\w.-]*{digest}$", service["image"]), name  # one version, and of others' images the very bytes
    assert {name for name, service in compose()["services"].items() if "cap_add" in service or "ports" in service} == {"nginx"}
    assert compose()["networks"]["store"]["internal"] is True


def test_paths_mounted_by_compose_exist() -> None:
    """The routers mount the folder deploy/config, nginx mounts nginx.conf and tls, and git ignores the folders with secrets."""
    for service in routers().values():
        assert service["volumes"][0] == "./config:/etc/router:ro"
    assert (DEPLOY / "config" / "routes.yaml").is_file()
    mounts = [volume.partition(":")[0] for volume in compose()["services"]["nginx"]["volumes"]]
    assert mounts == ["./nginx.conf", "./tls"]
    assert (DEPLOY / "nginx.conf").is_file()
    assert {"deploy/tls/", "deploy/secrets/"} <= set((DEPLOY.parent / ".gitignore").read_text().split())


def test_compose_starts_routers_of_this_version_with_a_valid_command_line() -> None:
    """Each router service runs this version's image with arguments that the parser accepts as `serve` on port 8000."""
    for service in routers().values():
        given = parser().parse_args(service["command"])
        assert (given.command, str(given.routes), given.port) == ("serve", "/etc/router/routes.yaml", 8000)
        assert service["image"] == f"pointsman:{__version__}"


async def test_compose_configuration_declares_auth_and_its_grace_period_covers_the_drain(tmp_path: Path) -> None:
    """The configuration declares `server.auth` and is valid without provider keys; the stop grace period exceeds `drain` by 15 s."""
    shutil.copytree(DEPLOY / "config", tmp_path / "etc")
    routes = tmp_path / "etc" / "routes.yaml"
    routes.write_text(secrets_in(tmp_path / "secrets")(routes.read_text()))
    declared = declare(read(routes), {}, "0.0.0.0")  # noqa: S104
    assert declared.complaints.in_order() == ()
    assert set(declared.skipped) == {"gpt", "claude"}
    server = declared.routes.server
    assert isinstance(server.auth, Auth)
    assert [str(proxy) for proxy in server.proxies] == [f"{compose()['services']['nginx']['networks']['front']['ipv4_address']}/32"]
    generation = build(declared)
    assert set(generation.routes) == {"chat-model", "title-model"}
    await generation.close()
    for service in routers().values():
        assert f"./secrets:{SECRETS}:ro" in service["volumes"]
        assert seconds(service["stop_grace_period"]) >= server.drain + ENDING


def test_compose_lets_nginx_finish_its_last_stream() -> None:
    """The stop grace period of nginx is longer than its worker shutdown timeout, which is longer than its read timeout."""
    conf = (DEPLOY / "nginx.conf").read_text()
    [ends] = re.findall(r"worker_shutdown_timeout (\d+)s;", conf)
    [reads] = re.findall(r"proxy_read_timeout (\d+)s;", conf)
    assert int(reads) < int(ends) < seconds(compose()["services"]["nginx"]["stop_grace_period"])


def test_upstream_of_compose_lists_the_routers_addresses() -> None:
    """The upstream list in compose.yaml is the shipped one with the addresses of its router services, which lie in its network."""

    def bare(text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]

    addresses = [service["networks"]["front"]["ipv4_address"] for service in routers().values()]
    shipped = upstreams(*(f"{address}:8000" for address in addresses))
    assert bare(compose()["configs"]["upstream"]["content"]) == bare(shipped)
    network = ip_network(compose()["networks"]["front"]["ipam"]["config"][0]["subnet"])
    assert all(ip_address(address) in network for address in addresses)


async def test_nginx_accepts_the_upstream_list_of_compose(tmp_path: Path) -> None:
    """The command `nginx -t` accepts a minimal configuration that includes the upstream list of compose.yaml."""
    nginx = program("nginx")
    (tmp_path / "upstream.conf").write_text(compose()["configs"]["upstream"]["content"])
    conf = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n  include upstream.conf;\n}}\n"
    (tmp_path / "nginx.conf").write_text(conf)
    await run(nginx, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))
