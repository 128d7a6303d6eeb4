"""What the API answers, as types; and the two ways in which it does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ClientError(Exception):
    """Root of what QerdsClient raises."""


class Unreachable(ClientError):
    """No answer, or "try again" every time. A submission may have been stored: the same key again tells."""


class TimedOut(ClientError):
    """The service answers, but what was waited for did not happen in time."""


class Refused(ClientError):
    """The API says no (RFC 9457). code is stable; mistakes: (pointer, code, detail)."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(body.get("code") or body.get("error") or status)
        self.detail = str(body.get("detail") or body.get("error_description") or "")
        self.remedy = str(body.get("remedy", ""))
        self.request_id = str(body.get("request_id", ""))
        self.existing_id = body.get("existing_id")
        self.mistakes = tuple((e["pointer"], e["code"], e["detail"]) for e in body.get("errors", []))
        super().__init__(f"{self.code}: {self.detail}")


@dataclass(frozen=True, slots=True)
class Upload:
    """A stored file."""

    id: str
    sha256: str
    file_name: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A letter as its sender sees it; `body` is the whole answer."""

    id: str
    number: str
    state: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Delivery":
        """From an answer of the API."""
        return cls(body["id"], body["number"], body["state"], body)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One stamped proof in the list."""

    id: str
    event: str
    event_time: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package and its digest, as the service gave it; checked against the bytes."""

    content: bytes
    sha256: str
