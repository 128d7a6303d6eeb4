"""A JSON body as one object, or the problem that it is not.

Owns     turning what `pipeline.intake.reading` finds unreadable into the API's problem; the Content-Type of JSON
Elsewhere: the reading itself, the length of a body (gateway/limits.py)
"""

from collections.abc import Mapping

from starlette.requests import Request

from gateway.problems import Problem
from pipeline.intake.mistakes import Unreadable
from pipeline.intake.reading import read_json


def json_object(body: bytes) -> Mapping[str, object]:
    """Raises Problem invalid_encoding or malformed_json."""
    try:
        return read_json(body)
    except Unreadable as error:
        raise Problem(error.code, error.detail) from error


def declared_json_object(request: Request, body: bytes) -> Mapping[str, object]:
    """The same, for a request that says it sends JSON; raises Problem type_not_allowed otherwise."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Problem("type_not_allowed", "send application/json")
    return json_object(body)
