"""Cancelling Clopos orders: everything that the triggers share. It is imported before the libraries."""

import gc

# A cold start creates 70,000 objects and hardly any garbage. By default, Python looks for garbage after every
# 2,000 new objects, which takes a twentieth of a cold start's CPU time (docs/performance.md).
gc.set_threshold(100_000)
