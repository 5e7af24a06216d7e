class StackError(Exception):
    """The local stack cannot run. The text tells the user why, and what to do about it."""
