"""The table of the faults: runs the cases lane by lane, and shows the outcomes at the end."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.system.faults.case import Case
from tests.system.faults.running import Table


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Yield the Table of this session's cases, each lane and kind run when first asked for. With `-s` it is shown at the end."""
    wanted = [getattr(item, "callspec", None) for item in request.session.items if "table" in getattr(item, "fixturenames", ())]
    cases = [cast("Case", spec.params["case"]) for spec in wanted if spec is not None and "case" in spec.params]
    made = Table(cases, lambda: tmp_path_factory.mktemp("faults"))
    yield made
    reporter: Any = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and request.config.getoption("capture") == "no":
        reporter.ensure_newline()
        for line in made.lines():
            reporter.write_line(line)
