"""Clopos Open API v2, simulated from its public documentation, for development and tests.

`Simulator` runs one in a thread; ``python -m local.simulator`` runs one as a process, which `SimulatorClient`
controls. `Settings` are the state of Clopos; a `Fault` is how it answers a certain call.
"""

from local.simulator.calls import Call
from local.simulator.catalogue import FAULTS, RUDE_FAULTS
from local.simulator.client import SimulatorClient
from local.simulator.delivery import DELIVERIES
from local.simulator.encodings import ENCODINGS
from local.simulator.faults import AnyFault, Fault
from local.simulator.refusals import REFUSALS, STYLES
from local.simulator.server import Simulator
from local.simulator.settings import CREDENTIALS, Settings
from local.simulator.unreachable import black_hole, stalled_listener
from local.simulator.upstream import CUSTOMER
from local.simulator.variants import VARIANTS

__all__ = [
    "CREDENTIALS",
    "CUSTOMER",
    "DELIVERIES",
    "ENCODINGS",
    "FAULTS",
    "REFUSALS",
    "RUDE_FAULTS",
    "STYLES",
    "VARIANTS",
    "AnyFault",
    "Call",
    "Fault",
    "Settings",
    "Simulator",
    "SimulatorClient",
    "black_hole",
    "stalled_listener",
]
