"""Cancelling Clopos orders: everything that the triggers share."""

import gc

# A cold start leaves 55,000 objects and hardly any garbage. By default Python would look for some after every
# 2,000 new ones, in vain.
gc.set_threshold(50_000)
