"""What the bridge counts about itself.

Owns     its own registry and the series of the bridge (names are part of the operating interface)
Rules    no delivery, person or address in a label
Elsewhere: serving them (health)
"""

import importlib.metadata
from pathlib import Path
from resource import getpagesize

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """One process's series."""

    def __init__(self, config_version: str) -> None:
        self.registry = CollectorRegistry()
        build = Gauge("qerds_build_info", "What runs here", ("version", "config_version"), registry=self.registry)
        build.labels(_version(), config_version).set(1)
        resident = Gauge("qerds_process_resident_bytes", "Memory", ("kind",), registry=self.registry)
        resident.labels("hsm_bridge").set_function(_resident_bytes)
        self.requests = Counter(
            "qerds_bridge_requests_total", "Requests", ("op", "caller", "result"), registry=self.registry
        )
        self.seconds = Histogram(
            "qerds_bridge_request_seconds", "Time to answer", ("op",), registry=self.registry, buckets=SECONDS_BUCKETS
        )
        self.queued_items = Gauge("qerds_bridge_queue_items", "Items admitted and not answered", registry=self.registry)
        self.token_up = Gauge("qerds_bridge_token_up", "1 while the token works", registry=self.registry)
        self.certificate_expiry = Gauge(
            "qerds_certificate_expiry_timestamp_seconds",
            "End of the newest certificate",
            ("use",),
            registry=self.registry,
        )
        self.crl_expiry = Gauge(
            "qerds_crl_expiry_timestamp_seconds", "When the revocation list runs out", registry=self.registry
        )

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


def _version() -> str:
    try:
        return importlib.metadata.version("qerds")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def _resident_bytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
