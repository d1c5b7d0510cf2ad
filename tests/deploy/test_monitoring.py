"""Alerts, dashboard and scrape configuration, checked by promtool and against the metrics of a running router."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.conftest import Workspace, routes, serving
from tests.deploy.linters import DEPLOY, HERE, kustomized, one, output_of
from tests.support.services import program

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
NAME = re.compile(r"\brouter_[a-z_]+\b")
PARTS = ("_bucket", "_sum", "_count")


def dashboard() -> dict[str, Any]:
    """Return the Grafana dashboard."""
    return cast("dict[str, Any]", json.loads((DEPLOY / "grafana" / "pointsman.json").read_text()))


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (panel and query, PromQL with its variables filled in) of each query of the dashboard."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$route", ".*")
            yield f"{panel['title']} {target['refId']}", filled


async def metrics(workspace: Workspace) -> str:
    """Return the metrics page of a router that has answered, with a declared Redis and a tool server that are both away."""
    route, away = "targets: [a]\n    tools: [{mcp: 'http://127.0.0.1:9/mcp'}]", "server: {redis: 'redis://127.0.0.1:9/0'}\n"
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}, {text: there}]}", route, away))
    async with serving(workspace.build()) as client:
        assert (await client.ask()).status == 200
        return (await client.get("/metrics")).body.decode()


async def test_each_metric_named_by_monitoring_files_is_published(workspace: Workspace) -> None:
    """Every `router_…` metric in alerts, dashboard, autoscaler and adapter is published by a router."""
    told = await metrics(workspace)
    families = {line.split()[2] for line in told.splitlines() if line.startswith("# TYPE ")}
    texts = [ALERTS.read_text(), (DEPLOY / "grafana" / "pointsman.json").read_text(), kustomized()]
    texts.append((DEPLOY / "prometheus" / "adapter.yaml").read_text())
    for text in texts:
        names = {name.removesuffix(part) for name in NAME.findall(text) for part in PARTS if name.endswith(part)}
        names |= {name for name in NAME.findall(text) if not name.endswith(PARTS)}
        assert names, text
        assert names <= families


async def test_promtool_accepts_the_metrics_page(workspace: Workspace, tmp_path: Path) -> None:
    """The command `promtool check metrics` has no complaint about the metrics page."""
    promtool = program("promtool")
    assert output_of(promtool, "check", "metrics", given=await metrics(workspace)) == ""


def test_promtool_accepts_the_alert_rules() -> None:
    """The command `promtool check rules` accepts the alert rules."""
    assert "SUCCESS" in output_of(program("promtool"), "check", "rules", str(ALERTS))


def test_each_alert_fires_when_it_should_and_none_on_a_healthy_day(tmp_path: Path) -> None:
    """The alert rules pass promtool's tests, which contain every alert; every alert has a severity and a summary."""
    promtool = program("promtool")
    text = (HERE / "alerts_test.yaml").read_text()
    tested = tmp_path / "alerts_test.yaml"
    tested.write_text(text.replace("[RULES]", f"[{ALERTS}]"))
    output_of(promtool, "test", "rules", str(tested))
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["alert"] in text, "an alert without a test"
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]


def test_alert_rule_tests_fail_with_another_threshold(tmp_path: Path) -> None:
    """The tests of the alert rules fail in promtool if the threshold of one alert is ten times higher."""
    promtool = program("promtool")
    (tmp_path / "alerts.yaml").write_text(ALERTS.read_text().replace("> 0.05\n        for: 5m", "> 0.5\n        for: 5m"))
    (tmp_path / "test.yaml").write_text((HERE / "alerts_test.yaml").read_text().replace("[RULES]", f"[{tmp_path / 'alerts.yaml'}]"))
    with pytest.raises(AssertionError, match="RouterAnswersFail"):
        output_of(promtool, "test", "rules", str(tmp_path / "test.yaml"))


def test_prometheus_accepts_the_scrape_configuration() -> None:
    """The scrape configuration is valid, names the job that an alert expects, and scrapes the routers of compose.yaml."""
    promtool = program("promtool")
    output_of(promtool, "check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yaml"))
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert f'up{{job="{scrape["job_name"]}"}}' in ALERTS.read_text()
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    addresses = [service["networks"]["front"]["ipv4_address"] for name, service in compose["services"].items() if "router" in name]
    assert scrape["static_configs"][0]["targets"] == [f"{address}:8000" for address in addresses]


def test_autoscaler_uses_a_metric_that_the_adapter_provides() -> None:
    """The metric of the HorizontalPodAutoscaler is the one that the Prometheus adapter's rule provides."""
    [rule] = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"]["custom"]
    metric = one("HorizontalPodAutoscaler", kustomized())["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert rule["name"]["as"] == metric
    assert rule["seriesQuery"].startswith(f"{metric}{{")


def test_each_dashboard_query_is_valid_promql(tmp_path: Path) -> None:
    """Every query of the dashboard is accepted by promtool as an expression."""
    promtool = program("promtool")
    rules = [{"record": f"panel:{number}", "expr": expression} for number, (_, expression) in enumerate(expressions())]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in output_of(promtool, "check", "rules", str(tmp_path / "rules.yaml"))


def test_dashboard_can_be_imported_into_any_grafana() -> None:
    """The dashboard has a variable as data source, unique ids, and panels with description and unit that do not overlap."""
    found = dashboard()
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert "id" not in found  # given by the Grafana it is imported into
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    variables = {variable["name"] for variable in found["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(found))) - {"__rate_interval", "__all"}
    assert used <= variables


def test_each_label_in_a_dashboard_legend_is_kept_by_its_query() -> None:
    """Each label in a legend of the dashboard is one that its query keeps in `by (…)`."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            kept = {label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, panel["title"]
