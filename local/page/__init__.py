"""A live page of the local stack: queues, results, errors, and buttons to try it out.

``make start`` serves it. `actions` does what the buttons say; `state` reads what became of it from logs,
queues and events; `server` hands both to the page: `index.html`, `page.js` and `style.css`.
"""

from local.page.server import serve

__all__ = ["serve"]
