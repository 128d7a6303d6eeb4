"""Which version of the API a request is written for: the header Qerds-Version, a date.

Owns     the versions that are answered, and refusing others
Rules    absent means the newest. A version is a promise about names and meanings; new fields, events and codes may come
         within one, so a client ignores what it does not know. What would break a client gets a new date, and the one
         before goes on being answered
Elsewhere: adding the header to an answer (edge.py)
"""

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.problems import Problem

HEADER = "Qerds-Version"
NEWEST = "2026-11-24"
VERSIONS = (NEWEST,)


def asked_version(scope: Scope) -> str:
    """Raises Problem version_unknown."""
    version = Headers(scope=scope).get(HEADER, NEWEST)
    if version not in VERSIONS:
        raise Problem("version_unknown", f"{HEADER} must be one of {', '.join(VERSIONS)}, or left out for the newest")
    return version
