"""The log of the deployed functions has the keys that the manual promises, and no others."""

import re

from local.common import ROOT
from tests.conftest import FUNCTIONS, eventually, logs

TABLE = re.compile(r"### The keys of the log\n.*?\n\n(\|.*?)\n\n", re.DOTALL)
RARE = {"stack", "count"}  # in the lines about a bug, or about an unreachable event bus


def documented():
    """Return the keys in the manual's table."""
    (table,) = TABLE.findall((ROOT / "docs" / "operations.md").read_text())
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_every_key_of_the_log_is_in_the_manual_and_every_key_of_the_manual_in_the_log(
    stack, clopos, deployed_queues
):
    stack.refresh_token()
    clopos.add_order(109)
    stack.put_order(108, headers={"x-correlation-id": "c-1"})
    stack.put_order(404)
    stack.post_webhook('{"order_id": 109, "venue_id": 1}')
    stack.post_webhook('{"type": "order.created", "order_id": 109}')
    stack.post_webhook("{}")
    eventually(lambda: clopos.order(109)["status"] == "IGNORE")

    def found():
        lines = [line for name in FUNCTIONS for line in logs(stack, name) if "_aws" not in line]
        return {key for line in lines for key in line}

    eventually(lambda: documented() - found() <= RARE)
    assert found() <= documented()
