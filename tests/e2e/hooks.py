"""A sender's side of events for tests: an endpoint that keeps what it gets, the API with a token, the whole list.

Owns     a real HTTP server on this machine, and following the list by its cursor
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from pipeline.client.credentials import find_credentials
from tests.e2e.installation import Installation

Received = list[tuple[dict[str, str], bytes]]


@contextmanager
def receiver() -> Iterator[tuple[str, Received]]:
    """A sender's endpoint: its address, and what it got."""
    received: Received = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sender_api(it: Installation) -> httpx.Client:
    """The sample sender, with a token."""
    known = find_credentials(it.layout.state)
    form = {"grant_type": "client_credentials", "client_id": known.client_id, "client_secret": known.client_secret}
    token = httpx.post(f"{known.base_url}/oauth2/token", data=form).json()["access_token"]
    return httpx.Client(base_url=known.base_url, headers={"Authorization": f"Bearer {token}"}, timeout=40)


def register(it: Installation, url: str) -> None:
    """A webhook for everything, from now on."""
    with sender_api(it) as api:
        made = api.post("/v1/webhooks", json={"url": url})
        assert made.status_code == httpx.codes.CREATED, made.text


def listed(it: Installation) -> list[dict[str, Any]]:
    """Every event of the sample sender, as the list has it now."""
    events: list[dict[str, Any]] = []
    with sender_api(it) as api:
        after: dict[str, str] = {}
        while True:
            page = api.get("/v1/events", params={"limit": 100, **after}).json()
            events += page["items"]
            after = {"after": page["next_cursor"]}
            if not page["has_more"]:
                return events


def ids_of(received: Received) -> set[str]:
    """Which events came, however often."""
    return {headers["webhook-id"] for headers, _ in list(received)}
