"""A live page of the local stack: what waits, what was done, why not, and buttons to try it out.

``make start`` serves it. An order's way over the page: `controls` sends it, `watch` reads what became of it
from logs, queues, traces and events, `regions.html` turns that into HTML, and `view` shows it in a browser.
"""

from local.page.server import serve

__all__ = ["serve"]
