"""The scenarios by name, in the order they run; those that need an installation share one.

`million` takes most of an hour, so it runs only when it is named.
"""

from collections.abc import Callable

from bench import backlog, hop, intake, latency, letters, million, scale, size, soak
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
    "million": million.run,
}
USUAL = tuple(name for name in SCENARIOS if name != "million")
