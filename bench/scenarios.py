"""The scenarios by name, in the order they run; those that need an installation share one."""

from collections.abc import Callable

from bench import backlog, hop, intake, latency, letters, scale, size, soak
from bench.context import Bench
from bench.results import Section

SCENARIOS: dict[str, Callable[[Bench], Section]] = {
    "hop": hop.run,
    "letters": letters.run,
    "latency": latency.run,
    "backlog": backlog.run,
    "scale": scale.run,
    "soak": soak.run,
    "size": size.run,
    "intake": intake.run,
}
