"""What a receiver gets: the body, the headers, and signatures that another implementation accepts."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from uuid import UUID

from pipeline.feed import signature
from pipeline.feed.payload import BODY_BYTES_MAX, FeedEvent, body, body_bytes, trial

AT = datetime(2026, 5, 4, 12, 0, 1, 999_999, tzinfo=UTC)
ID = UUID("0196a6f0-0000-7000-8000-000000000001")


def test_a_body_has_ids_and_times_and_nothing_of_a_person() -> None:
    """The fields of the interface; what does not apply is left out."""
    event = FeedEvent(7, ID, "delivery.accepted", AT, ID, None, "12345678901234", "ref-1", "accepted", ID)
    assert body(event) == {
        "id": str(ID),
        "type": "delivery.accepted",
        "time": "2026-05-04T12:00:01.999Z",
        "sequence": 7,
        "delivery_id": str(ID),
        "number": "12345678901234",
        "client_ref": "ref-1",
        "state": "accepted",
        "evidence_id": str(ID),
    }
    batch = body(FeedEvent(8, ID, "batch.completed", AT, subject=ID, state="completed"))
    assert set(batch) == {"id", "type", "time", "sequence", "batch_id", "state"}
    consent = body(FeedEvent(9, ID, "consent.given", AT, client_ref="c-1"))
    assert (set(consent), consent["consent_ref"]) == ({"id", "type", "time", "sequence", "consent_ref"}, "c-1")
    assert set(body(trial(ID, ID, AT))) == {"id", "type", "time", "sequence", "webhook_id"}


def test_the_bytes_of_an_event_are_always_the_same_and_few() -> None:
    """A second try sends what the first one sent."""
    event = FeedEvent(7, ID, "delivery.accepted", AT, ID, None, "1" * 14, "é" * 64, "accepted", ID)
    assert body_bytes(event) == body_bytes(event)
    assert json.loads(body_bytes(event)) == body(event)
    assert len(body_bytes(event)) < BODY_BYTES_MAX / 10


def test_v1_is_the_hmac_of_id_timestamp_and_body() -> None:
    """The vector of the Standard Webhooks specification's own libraries."""
    secret = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    data = b'{"test": 2432232314}'
    mac = hmac.new(secret, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + data, hashlib.sha256).digest()
    assert b64encode(mac).decode() == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    own = hmac.new(secret, signature.signed_message(ID, 1614265330, data), hashlib.sha256).digest()
    assert signature.sign_v1(secret, ID, 1614265330, data) == "v1," + b64encode(own).decode()
    assert signature.signed_message(ID, 5, b"x") == f"{ID}.5.x".encode()


def test_the_headers_are_those_of_the_standard() -> None:
    """Lower case, as HTTP/2 wants them."""
    assert signature.headers(ID, 5, "v1a,abc") == {
        "webhook-id": str(ID),
        "webhook-timestamp": "5",
        "webhook-signature": "v1a,abc",
    }
    assert signature.secret_text(bytes(32)).startswith("whsec_")
