"""The recipient's pages. `routes(ports)` is all that the application needs."""

from gateway.portal.mount import routes

__all__ = ["routes"]
