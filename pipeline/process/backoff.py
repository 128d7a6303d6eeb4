"""When to try again: exponential, capped, with jitter from a given source so that a simulation can replay it."""

FIRST_SECONDS = 0.5
CAP_SECONDS = 120.0  # an outage that ends is noticed within two minutes
JITTER = 0.2  # +- 20 %, so that a million letters do not come back in the same second


def retry_seconds(attempts: int, unit: float) -> float:
    """Seconds to wait before try number `attempts` + 1. `unit`: a random number in [0, 1)."""
    plain = min(FIRST_SECONDS * 2.0 ** min(attempts, 20), CAP_SECONDS)
    return plain * (1 - JITTER + 2 * JITTER * unit)
