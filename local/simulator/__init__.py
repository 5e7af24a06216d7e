"""Clopos Open API v2, simulated from its documentation and from what integrators report.

`Simulator` runs one in a thread. `Settings` are the state of Clopos; a `Fault` is how it answers a call, and
`FAULTS` is the table of those that have a name, with what the two triggers make of each.
"""

from local.simulator.answers import Call as Call
from local.simulator.faults import FAULTS as FAULTS
from local.simulator.faults import AnyFault as AnyFault
from local.simulator.faults import Fault as Fault
from local.simulator.faults import quoting as quoting
from local.simulator.faults import refusal as refusal
from local.simulator.quotes import FORMS as FORMS
from local.simulator.quotes import inner_token as inner_token
from local.simulator.refusals import REFUSALS as REFUSALS
from local.simulator.refusals import STATES as STATES
from local.simulator.refusals import STYLES as STYLES
from local.simulator.server import Simulator as Simulator
from local.simulator.settings import CREDENTIALS as CREDENTIALS
from local.simulator.settings import Settings as Settings
from local.simulator.state import CUSTOMER as CUSTOMER
from local.simulator.state import STATUSES as STATUSES
