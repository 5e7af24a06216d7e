"""Clopos Open API v2, simulated from its public documentation, for development and tests.

`Simulator` runs one in a thread; ``python -m local.simulator`` is a process of its own, and `SimulatorClient`
controls it. `Settings` say what state Clopos is in; a `Fault` says how it answers single calls.
"""

from local.simulator.calls import Call
from local.simulator.catalogue import FAULTS, RUDE_FAULTS
from local.simulator.client import SimulatorClient
from local.simulator.faults import AnyFault, Fault
from local.simulator.refusals import REFUSALS, STYLES
from local.simulator.server import Simulator
from local.simulator.settings import CREDENTIALS, Settings
from local.simulator.upstream import CUSTOMER

__all__ = [
    "CREDENTIALS",
    "CUSTOMER",
    "FAULTS",
    "REFUSALS",
    "RUDE_FAULTS",
    "STYLES",
    "AnyFault",
    "Call",
    "Fault",
    "Settings",
    "Simulator",
    "SimulatorClient",
]
