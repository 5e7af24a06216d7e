"""A live page of the local stack: queues, results, errors, alarms, and buttons to try it out.

``make start`` serves it. `controls` sends an order; `watch` reads its outcome from logs, queues, traces and
events; `regions.html` renders it as HTML; and `view` shows it in a browser.
"""

from local.page.server import serve

__all__ = ["serve"]
