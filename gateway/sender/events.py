"""GET /v1/events: everything that happened to a sender's letters and batches, in one order, by a cursor.

Owns     the reading of the question, the cursor, waiting for what has not happened yet
Rules    order is the sequencer's: nothing is ever inserted before a cursor that was given out. A page without events
         moves the cursor on as well; who asks with the last next_cursor misses nothing and sees nothing twice
         those who wait share one look at the head of the list each 200 ms; their number is bounded
Elsewhere: pushing (webhooks.py, pipeline/stages/webhook.py)
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.limits import LIST_DEFAULT, LIST_MAX
from gateway.problems import Problem, problem_of
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from pipeline.feed.payload import body
from pipeline.feed.types import TYPES
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import identifier
from pipeline.stores.feed import EventQuestion, EventsSeen, EventStore

SCOPE = "deliveries:read"
WAIT_SECONDS_MAX = 30
LOOK_SECONDS = 0.2
WAITERS_MAX = 100  # of one gateway
WAITERS_OF_SENDER_MAX = 4
CURSOR_CHARACTERS_MAX = 40
PARAMETERS = frozenset({"after", "types", "delivery_id", "wait", "limit"})


class Events:
    """/v1/events."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._store = ports.events
        self._oauth = oauth
        self._watch = HeadWatch(ports.events)
        self._waiting: Counter[UUID] = Counter()

    async def index(self, request: Request) -> Response:
        """GET: at once when there is something, else when something comes or the wait is over."""
        principal = await self._oauth.authorise(request, SCOPE)
        question, wait_seconds = _read(request.query_params, principal.sender)
        page = await self._store.events(question)
        if not page.events and not page.has_more and wait_seconds:
            with self._place(principal.sender):
                page = await self._later(question, wait_seconds)
        items = [body(event) for event in page.events]
        return JSONResponse({"items": items, "next_cursor": cursor_of(page.read_through), "has_more": page.has_more})

    async def _later(self, question: EventQuestion, seconds: float) -> EventsSeen:
        """The head is read before the page: what comes between the two ends the wait."""
        until = anyio.current_time() + seconds
        while True:
            head = await self._store.head()
            page = await self._store.events(question)
            if page.events or page.has_more or not await self._watch.passes(head, until):
                return page

    @contextmanager
    def _place(self, sender: UUID) -> Generator[None, None, None]:
        if self._waiting.total() >= WAITERS_MAX or self._waiting[sender] >= WAITERS_OF_SENDER_MAX:
            raise Problem("rate_limited", f"at most {WAITERS_OF_SENDER_MAX} requests of a sender may wait at once")
        self._waiting[sender] += 1
        try:
            yield
        finally:
            self._waiting[sender] -= 1
            if not self._waiting[sender]:
                del self._waiting[sender]


class HeadWatch:
    """The head of the list, asked for by one of those who wait, for all of them."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._lock = anyio.Lock()
        self._head = 0
        self._asked_at = float("-inf")

    async def passes(self, head: int, until: float) -> bool:
        """True when the head has passed `head`; False when the time is up."""
        while anyio.current_time() < until:
            async with self._lock:
                if anyio.current_time() - self._asked_at >= LOOK_SECONDS:
                    self._head = await self._store.head()
                    self._asked_at = anyio.current_time()
            if self._head > head:
                return True
            await anyio.sleep(LOOK_SECONDS)
        return False


def cursor_of(sequence: int) -> str:
    """Opaque: what it is made of may change."""
    return urlsafe_b64encode(f"e{sequence}".encode()).decode().rstrip("=")


def sequence_of(cursor: str) -> int:
    """Raises ValueError for what is no cursor of ours."""
    if not cursor.isascii() or len(cursor) > CURSOR_CHARACTERS_MAX:
        raise ValueError("not a cursor")
    text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode("ascii")
    if text[:1] != "e" or not text[1:].isdigit() or len(text) > 19:
        raise ValueError("not a cursor")
    return int(text[1:])


def read_types(names: Sequence[str], pointer: str, mistakes: list[Mistake]) -> tuple[str, ...]:
    """Types of events; none: all."""
    if any(name not in TYPES for name in names):
        mistakes.append(Mistake("field_invalid", pointer, f"must be of {', '.join(sorted(TYPES))}"))
    return tuple(dict.fromkeys(names))


def _read(query: Mapping[str, str], sender: UUID) -> tuple[EventQuestion, int]:
    unknown = sorted(set(query) - PARAMETERS)
    mistakes = [Mistake("field_unknown", name[:100], "is no parameter of this list") for name in unknown]
    after, delivery = 0, None
    try:
        after = sequence_of(query["after"]) if "after" in query else 0
    except ValueError:
        mistakes.append(Mistake("field_invalid", "after", "must be a next_cursor of this list"))
    try:
        delivery = identifier(query["delivery_id"]) if "delivery_id" in query else None
    except ValueError:
        mistakes.append(Mistake("field_invalid", "delivery_id", "must be the id of a delivery"))
    types = read_types([name for name in query.get("types", "").split(",") if name], "types", mistakes)
    limit = _number(query, "limit", LIST_DEFAULT, 1, LIST_MAX, mistakes)
    wait_seconds = _number(query, "wait", 0, 0, WAIT_SECONDS_MAX, mistakes)
    if mistakes:
        raise problem_of(mistakes)
    return EventQuestion(sender, after, types, delivery, limit), wait_seconds


def _number(
    query: Mapping[str, str], name: str, default: int, lowest: int, highest: int, mistakes: list[Mistake]
) -> int:
    text = query.get(name, str(default))
    if text.isascii() and text.isdigit() and len(text) <= 9 and lowest <= int(text) <= highest:
        return int(text)
    mistakes.append(Mistake("field_invalid", name, f"must be a number from {lowest} to {highest}"))
    return default
