"""Every fault of a provider and of a tool, through every lane, as a front end meets it.

One table: a row is a fault and what must come of it, with a healthy target behind (`spare`) and without one (`alone`), for
an answer in plain text and for one that uses a tool first. Whatever happens: one terminal event, in time, nothing that nobody
foresaw, no half answer that looks like a whole one, and neither the key nor a word of the provider's anywhere.

`make faults` runs just this and shows how each case ended, and when.
"""

import pytest

pytest.register_assert_rewrite("tests.system.faults.checks", "tests.system.faults.judged")
