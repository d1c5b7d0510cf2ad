"""Every fault of a provider and of a tool, through every lane, as a front end sees it.

A row of the table is a fault and its expected outcome: with a healthy target behind the faulty one (`spare`) and without one (`alone`), for
a text answer and for one that uses a tool first. In every case there is one terminal event, in time, no unexpected exception, no truncated
answer that looks complete, and neither the key nor a word of the provider's error in the response or the log.

`make faults` runs only these tests, and shows how and when each case ended.
"""

import pytest

pytest.register_assert_rewrite("tests.system.faults.checks", "tests.system.faults.judged")
