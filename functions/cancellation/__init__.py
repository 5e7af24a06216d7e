"""Cancelling Clopos orders: everything that the triggers share."""
