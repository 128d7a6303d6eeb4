"""The ledger check itself: a healthy ledger passes, each planted violation is found by the predicate meant for it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.formats.configuration import DatabaseSettings
from pipeline.operate.ledger import PREDICATES, check_ledger
from pipeline.operate.ledger_proofs import Violation
from pipeline.operate.ledger_record import RECORD_PREDICATES
from pipeline.operate.ledger_times import late_line
from tests.db import small_ledger
from tests.db.healthy_ledger import Healthy
from tests.db.small_ledger import Letters
from tests.fakes import pki
from tests.worlds.superuser import unguarded

pytestmark = pytest.mark.anyio
INVARIANTS = Path(__file__).resolve().parents[2] / "docs" / "invariants.md"


async def violations(healthy: Healthy, database: DatabaseSettings) -> list[Violation]:
    operator = Database(small_ledger.config_of(database, Path("/none")).database.dsn("qerds_operate"))
    try:
        return await check_ledger(operator, (healthy.anchor,), installation="non_qualified t")
    finally:
        await operator.close()


@pytest.mark.timeout(60)
async def test_a_healthy_ledger_breaks_no_predicate(healthy: Healthy) -> None:
    """Letters in seven situations and a batch, made by the real stages: nothing for the operator to complain of."""
    states = healthy.server.psql("SELECT state FROM qerds.delivery ORDER BY state", healthy.database.name).split()
    assert states == ["accepted", "notified", "received", "refused", "rejected", "submitted", "submitted", "unclaimed"]
    database = healthy.copy()
    assert await violations(healthy, database) == []
    healthy.server.drop(database)


# Predicate -> ways to break it. {received} and the like are deliveries in that situation.
EVIDENCE = "(SELECT evidence FROM qerds.evidence WHERE delivery = {received} AND event = '%s')"
WEBHOOK = """INSERT INTO qerds.webhook (id, sender, url, signature, read_through, under_way)
    SELECT gen_random_uuid(), id, 'https://sender.example/', 'v1a', 0, %s FROM qerds.sender LIMIT 1"""
CONSENT_REQUEST = """INSERT INTO qerds.consent_request
    (id, sender, ref, email, given_names, birth_name, language, expires_at)
    SELECT gen_random_uuid(), id, 'c-1', 'jeanne@example.net', 'Jeanne', 'Martin', 'fr', now() + interval '30 days'
    FROM qerds.sender LIMIT 1"""
UPLOAD = "(SELECT upload FROM qerds.delivery_document WHERE delivery = {notified})"
SENDER = "(SELECT sender FROM qerds.delivery WHERE id = {notified})"
# Table and key, then what a superuser might write there. Each alone contradicts a seal.
CONTRADICTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("qerds.delivery", "id = {notified}"): (
        "client_ref = 'other'",
        "client_ref = NULL",
        "consent_ref = 'other'",
        "config_version = 'other'",
        "submitted_at = submitted_at - interval '1 h'",
        "recipient_kind = 'consumer', consent_ref = 'other'",
        "recipient_email = 'other@example.net'",
        "given_names = 'Jean'",
        "birth_name = 'Durand'",
        "usage_name = 'Durand'",
        "birth_date = '1980-05-17'",
        "organisation_name = 'Other'",
        "organisation_siren = '123456789'",
    ),
    ("qerds.sender", "id = " + SENDER): (
        "name = 'Other'",
        "email = 'other@example.org'",
        "identity_level = 'high'",
        "identity_method = 'other'",
        "identified_at = identified_at - interval '1 day'",
    ),
    ("qerds.delivery_document", "delivery = {notified}"): ("file_name = 'other.pdf'", "part = 2"),
    ("qerds.upload", "id = " + UPLOAD): (
        "content_type = 'text/plain'",
        "bytes = bytes + 1",
        "sha256 = sha256('other')",
        "sha3_256 = sha256('other')",
    ),
    ("qerds.notice", "delivery = {notified}"): (
        "message_id = 'other'",
        "text_sha256 = sha256('other')",
        "notice_date = notice_date - 1",
    ),
    ("qerds.notice_result", "delivery = {notified}"): ("code = 251", "detail = 'other'"),
    ("qerds.acceptance_window", "delivery = {notified}"): (
        "last_day = last_day + 10, expires_at = (last_day + 11)::timestamp AT TIME ZONE 'Europe/Paris'",
    ),
    ("qerds.acceptance_window", "delivery = {unclaimed}"): ("expires_at = expires_at - interval '1 day'",),
    ("qerds.identification", "delivery = {received}"): (
        "person_sha256 = sha256('other')",
        "level = 'high'",
        "provider = 'other'",
        "authenticated_at = authenticated_at - interval '1 h'",
        "outcome = 'near', match_kind = NULL",
    ),
}
LEAF = "INSERT INTO qerds.log_leaf (stream, what, subject, digest) VALUES ('%s', '%s', {notified}, sha256(''))"
PLANTED: dict[str, tuple[str, ...]] = {
    "delivery_has_a_next_step": (
        "DELETE FROM outbox.ingest WHERE subject = {submitted}",
        """DELETE FROM outbox.ingest WHERE subject = {submitted};
            INSERT INTO outbox.archive (lane, kind, subject) VALUES (2, 'preserve', {submitted})""",
    ),
    "open_window_will_close": (
        "DELETE FROM outbox.legal_timer WHERE subject = {notified}",
        "UPDATE outbox.legal_timer SET due_at = due_at + interval '1 ms' WHERE subject = {notified}",
        """INSERT INTO outbox.timer SELECT * FROM outbox.legal_timer WHERE subject = {notified};
            DELETE FROM outbox.legal_timer WHERE subject = {notified}""",
    ),
    "access_will_end": (
        "DELETE FROM outbox.legal_timer WHERE subject = {accepted}",
        "UPDATE outbox.legal_timer SET due_at = due_at + interval '1 ms' WHERE subject = {accepted}",
        "UPDATE outbox.legal_timer SET due_at = due_at - interval '1 ms' WHERE subject = {accepted}",
    ),
    "draft_will_be_sealed": ("DELETE FROM qerds.evidence_seal WHERE evidence = " + EVIDENCE % "E.1",),
    "seal_will_be_stamped": ("DELETE FROM qerds.evidence_token WHERE evidence = " + EVIDENCE % "E.1",),
    "outcome_will_be_preserved": ("DELETE FROM qerds.snapshot WHERE delivery = {refused}",),
    "message_names_what_exists": (
        "INSERT INTO outbox.encrypt (lane, kind, subject) VALUES (0, 'checked', gen_random_uuid())",
        "INSERT INTO outbox.notify (lane, kind, subject) VALUES (2, 'ask_consent', {notified})",
        "INSERT INTO outbox.seal (lane, kind, subject, evidence) VALUES (0, 'draft', {notified}, gen_random_uuid())",
    ),
    "batch_has_a_next_step": (
        "DELETE FROM outbox.ingest WHERE subject = {batch}",
        "UPDATE outbox.ingest SET kind = 'settle' WHERE subject = {batch}",
    ),
    "running_row_has_a_process": (
        "INSERT INTO outbox.notify_running (epoch, id, lane, kind, subject) VALUES (999999, 1, 0, 'send', {notified})",
    ),
    "evidence_has_its_delivery": (
        unguarded("qerds.evidence")
        + "UPDATE qerds.evidence SET delivery = gen_random_uuid() WHERE delivery = {notified} AND event = 'C.1'",
    ),
    "sequence_is_contiguous": ("DELETE FROM qerds.evidence WHERE delivery = {received} AND event = 'C.1'",),
    "canonical_has_its_digest": (
        unguarded("qerds.evidence") + "UPDATE qerds.evidence SET canonical = canonical || '\\x20' WHERE event = 'C.4'",
    ),
    "one_evidence_per_fact": (
        unguarded("qerds.evidence")
        + """INSERT INTO qerds.evidence
            (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id)
            SELECT gen_random_uuid(), delivery, 'C.5', 0, sequence + 1, event_time, canonical, sha256, seal_key_id
            FROM qerds.evidence WHERE event = 'C.4'""",
        unguarded("qerds.evidence")
        + """INSERT INTO qerds.evidence
            (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id)
            SELECT gen_random_uuid(), delivery, 'C.2', 1, sequence + 1, event_time, canonical, sha256, seal_key_id
            FROM qerds.evidence WHERE delivery = {unclaimed} AND event = 'C.5'""",
    ),
    "acceptance_is_a_pair": (
        """UPDATE qerds.evidence SET event_time = event_time + interval '1 ms'
            WHERE delivery = {accepted} AND event = 'D.1'""",
        "DELETE FROM qerds.evidence WHERE delivery = {accepted} AND event = 'D.1'",
        "DELETE FROM qerds.evidence WHERE delivery = {accepted} AND event = 'C.3'",
    ),
    "rows_say_what_is_sealed": (
        *(
            f"UPDATE {table} SET {change} WHERE {key}"
            for (table, key), changes in CONTRADICTIONS.items()
            for change in changes
        ),
        "DELETE FROM qerds.identification WHERE delivery = {refused}",
        "DELETE FROM qerds.delivery_document WHERE delivery = {notified}",
        """INSERT INTO qerds.delivery_document SELECT delivery, 2, upload, file_name, sha256
            FROM qerds.delivery_document WHERE delivery = {notified}""",
        "UPDATE qerds.evidence_seal SET signature = decode(repeat('00', 64), 'hex') WHERE evidence = "
        + EVIDENCE % "A.1",
    ),
    "evidences_tell_of_one_letter": (
        unguarded("qerds.evidence")
        + """UPDATE qerds.evidence SET canonical = convert_to(
            replace(convert_from(canonical, 'UTF8'), '>Test Sender<', '>Other Sender<'), 'UTF8')
            WHERE delivery = {notified} AND event = 'C.1'""",
        unguarded("qerds.evidence")
        + """UPDATE qerds.evidence SET canonical = convert_to(
            replace(convert_from(canonical, 'UTF8'), '>Test Delivery<', '>Other Delivery<'), 'UTF8')
            WHERE delivery = {notified} AND event = 'C.1'""",
    ),
    "event_is_its_roles_own": (
        "UPDATE qerds.evidence SET drafted_by = 'qerds_gateway' WHERE event = 'A.1' AND delivery = {notified}",
    ),
    "receipt_is_a_recipients": (
        unguarded("qerds.evidence") + "UPDATE qerds.evidence SET receipt = NULL WHERE event = 'C.4'",
        unguarded("qerds.evidence") + "UPDATE qerds.evidence SET receipt = '\\x00' WHERE event = 'C.5'",
    ),
    "decision_is_in_time": (
        "DELETE FROM qerds.decision_intent WHERE delivery = {refused}",
        """UPDATE qerds.acceptance_window SET expires_at = (SELECT event_time FROM qerds.evidence
            WHERE delivery = {refused} AND event = 'C.4') WHERE delivery = {refused}""",
        """DELETE FROM qerds.evidence_token WHERE evidence =
            (SELECT evidence FROM qerds.evidence WHERE delivery = {refused} AND event = 'C.1')""",
    ),
    "expiry_is_not_early": (
        """UPDATE qerds.evidence e SET event_time = w.expires_at - interval '1 ms' FROM qerds.acceptance_window w
            WHERE w.delivery = e.delivery AND e.event = 'C.5'""",
    ),
    "handover_was_whole": (
        "UPDATE qerds.handover SET complete = false",
        "UPDATE qerds.handover SET at = at + interval '1 h'",
        "DELETE FROM qerds.evidence_token WHERE evidence = " + EVIDENCE % "D.1",
    ),
    "window_is_its_notices": (
        "UPDATE qerds.acceptance_window SET expires_at = expires_at - interval '1 hour' WHERE delivery = {notified}",
        "DELETE FROM qerds.acceptance_window WHERE delivery = {notified}",
        "UPDATE qerds.notice SET last_day = last_day + 1 WHERE delivery = {notified}",
    ),
    "notice_has_one_result": (
        "DELETE FROM qerds.notice_result WHERE delivery = {notified}",
        unguarded("qerds.notice_result")
        + "INSERT INTO qerds.notice_result SELECT * FROM qerds.notice_result WHERE delivery = {notified}",
        "UPDATE qerds.notice_result SET outcome = 'superseded' WHERE delivery = {notified}",
        "DELETE FROM qerds.evidence WHERE delivery = {notified} AND event = 'C.1'",
    ),
    "deposit_is_readable": (
        "DELETE FROM qerds.content_wrap WHERE delivery = {notified}",
        "UPDATE qerds.delivery_document SET sha256 = sha256('other') WHERE delivery = {notified}",
    ),
    "deposit_keeps_its_bytes": (
        "DELETE FROM qerds.upload_segment WHERE upload = " + UPLOAD,
        "UPDATE qerds.upload_segment SET bytes = bytes - 1 WHERE upload = " + UPLOAD,
        "UPDATE qerds.upload_segment SET segment = 2 WHERE upload = " + UPLOAD,
    ),
    "packed_contents_lie_apart": (
        "UPDATE qerds.pack SET bytes = bytes - 1",
        "DELETE FROM qerds.pack",
        "UPDATE qerds.upload_segment SET object_bytes = object_bytes + 1 WHERE object_offset = 0",
        "UPDATE qerds.upload_segment SET object_bytes = NULL WHERE object_offset = 0",
        "UPDATE qerds.upload_segment SET object_bytes = 1 WHERE upload = " + UPLOAD,
    ),
    "content_wrap_is_a_deposits": (
        "UPDATE qerds.upload_wrap SET open_until = open_until + interval '1 day'",
        "DELETE FROM qerds.evidence WHERE delivery = {notified}",
        """INSERT INTO qerds.upload_wrap (upload, key_id, context, wrapped, sha3_256, open_until)
            SELECT u.id, 'kek', '', '', sha256(''), now() FROM qerds.upload u
            WHERE NOT EXISTS (SELECT FROM qerds.delivery_document x WHERE x.upload = u.id) LIMIT 1""",
    ),
    "lines_are_accounted_for": (
        "DELETE FROM qerds.batch_result WHERE batch = {batch} AND line = 3",
        """DELETE FROM qerds.batch_line
            WHERE intake = (SELECT intake FROM qerds.batch_part WHERE batch = {batch} AND part = 2)""",
        "UPDATE qerds.batch SET accepted = accepted + 1 WHERE id = {batch}",
        "UPDATE qerds.batch SET drawn_line = drawn_line - 1 WHERE id = {batch}",
        "UPDATE qerds.batch SET lines = lines + 1 WHERE id = {batch}",
        """INSERT INTO qerds.batch_line (intake, line, body)
            SELECT intake, 1, '{}' FROM qerds.batch_part WHERE batch = {batch} AND part = 1""",
    ),
    "result_has_its_delivery": (
        "UPDATE qerds.delivery SET batch = NULL WHERE batch = {batch}",
        "UPDATE qerds.batch_result SET replayed = true WHERE batch = {batch} AND line = 1",
        "UPDATE qerds.batch_result SET replayed = false WHERE batch = {batch} AND line = 2",
        "UPDATE qerds.batch_result SET delivery = gen_random_uuid() WHERE batch = {batch} AND line = 2",
    ),
    "object_has_one_owner": (
        "UPDATE qerds.snapshot SET object = (SELECT object FROM qerds.pack) WHERE delivery = {accepted}",
        unguarded("qerds.upload_segment") + "UPDATE qerds.upload_segment SET object = 'same'",
        (
            "UPDATE qerds.snapshot SET object = (SELECT object FROM qerds.upload_segment LIMIT 1)"
            " WHERE delivery = {received} AND snapshot = 1"
        ),
    ),
    "snapshots_are_a_chain": (
        "UPDATE qerds.snapshot SET previous_sha256 = sha256('other') WHERE delivery = {received} AND snapshot = 2",
        "DELETE FROM qerds.snapshot WHERE delivery = {received} AND snapshot = 1",
        "UPDATE qerds.snapshot SET sequence_through = 9 WHERE delivery = {received} AND snapshot = 2",
    ),
    "every_proof_is_logged": (
        "DELETE FROM qerds.log_leaf WHERE what = 'seal' AND subject = " + EVIDENCE % "A.1",
        "UPDATE qerds.log_leaf SET digest = sha256('other') WHERE what = 'draft' AND subject = " + EVIDENCE % "A.1",
        """INSERT INTO qerds.log_leaf (stream, what, subject, digest)
            VALUES ('evidence', 'draft', gen_random_uuid(), sha256(''))""",
    ),
    "every_fact_is_stated": (
        "UPDATE qerds.evidence SET receipt = '\\x00' WHERE receipt IS NOT NULL",
        "DELETE FROM qerds.log_leaf WHERE what = 'wrap' AND subject = {notified}",
        "UPDATE qerds.log_leaf SET digest = sha256('other') WHERE what = 'notice.1' AND subject = {notified}",
        LEAF % ("security", "key"),
        LEAF % ("security", "draft"),
        LEAF % ("evidence", "x.gone"),
        "DELETE FROM qerds.upload_wrap WHERE upload = " + UPLOAD,
        "UPDATE qerds.sender SET salt = NULL",
        "UPDATE qerds.sender SET birth_date_demanded = true",
        "UPDATE qerds.identification SET match_kind = 'birth_name_and_birth_date' WHERE delivery = {received}",
        "UPDATE qerds.identification SET match_kind = NULL WHERE delivery = {received}",
        """UPDATE qerds.sender SET window_until = now();
            INSERT INTO qerds.log_leaf (stream, what, subject, digest)
            SELECT stream, 'sender.3', subject, digest FROM qerds.stated_facts() WHERE what = 'sender'""",
        """INSERT INTO qerds.log_leaf (stream, what, subject, digest)
            SELECT stream, what || '.gone', subject, digest FROM qerds.log_leaf WHERE what = 'content' LIMIT 1""",
    ),
    "client_ref_is_single": (
        unguarded("qerds.delivery")
        + "UPDATE qerds.delivery SET client_ref = 'same' WHERE state IN ('notified', 'refused')",
    ),
    "state_is_announced": (
        "DELETE FROM qerds.event_unsequenced WHERE delivery = {received} AND state = 'accepted'",
        """SELECT qerds.sequence_events(0, 1000);
            DELETE FROM qerds.event WHERE delivery = {notified} AND state = 'notified'""",
        """INSERT INTO qerds.event_unsequenced (type, sender, delivery, state)
            SELECT type, sender, delivery, state FROM qerds.event_unsequenced WHERE delivery = {refused}""",
        """INSERT INTO qerds.event_unsequenced (type, sender, delivery, state)
            SELECT 'delivery.refused', sender, id, 'refused' FROM qerds.delivery WHERE id = {notified}""",
    ),
    "event_order_has_no_hole": (
        "SELECT qerds.sequence_events(0, 1000); DELETE FROM qerds.event WHERE sequence = 3",
        "SELECT qerds.sequence_events(0, 1000); UPDATE qerds.event_head SET sequence = sequence + 1",
    ),
    "event_tells_of_its_letter": (
        *(
            f"SELECT qerds.sequence_events(0, 1000); UPDATE qerds.event SET {change} WHERE delivery = {{received}}"
            for change in (
                "number = '12345678901234'",
                "client_ref = 'other'",
                "sender = gen_random_uuid()",
                "evidence = NULL",
                "time = time - interval '1 h'",
                "subject = gen_random_uuid()",
            )
        ),
        """SELECT qerds.sequence_events(0, 1000);
            UPDATE qerds.event SET delivery = NULL WHERE delivery = {received} AND type = 'delivery.package_ready'""",
        "UPDATE qerds.event_unsequenced SET sender = gen_random_uuid()",
        "UPDATE qerds.event_unsequenced SET state = 'received' WHERE type = 'delivery.refused'",
        "DELETE FROM qerds.event_unsequenced WHERE type = 'delivery.package_ready' AND delivery = {received}",
        """INSERT INTO qerds.event_unsequenced (type, sender, delivery, state)
            SELECT 'delivery.identity_mismatch', sender, id, state FROM qerds.delivery WHERE id = {received}""",
    ),
    "settings_are_the_builds": (
        "UPDATE qerds.transition SET to_state = 'accepted' WHERE to_state = 'refused'",
        "DELETE FROM qerds.transition WHERE to_state = 'refused'",
        "INSERT INTO qerds.transition VALUES ('submitted', '{C.4}', 'accepted')",
        "UPDATE qerds.event_type SET proof = 'D.1' WHERE proof = 'C.3'",
        "DELETE FROM qerds.event_type WHERE type = 'consent.given'",
        "UPDATE qerds.installation SET embedded = NOT embedded",
        "DELETE FROM qerds.installation",
    ),
    "webhook_has_its_message": (
        WEBHOOK % "true",
        WEBHOOK % "false"
        + "; INSERT INTO outbox.webhook (lane, kind, subject) SELECT 2, 'push', id FROM qerds.webhook",
    ),
    "head_says_what_the_row_says": (
        """UPDATE qerds.evidence SET event_time = event_time - interval '1 h'
            WHERE delivery = {notified} AND event = 'A.1'""",
        unguarded("qerds.evidence")
        + "UPDATE qerds.evidence SET canonical = 'junk', sha256 = sha256('junk') WHERE event = 'C.4'",
    ),
    "predecessor_is_named": (
        """UPDATE qerds.evidence e SET canonical = c.other, sha256 = sha256(c.other) FROM (
            SELECT x.evidence,
                convert_to(replace(convert_from(x.canonical, 'UTF8'), 'Test Sender', 'Best Sender'), 'UTF8') AS other
            FROM qerds.evidence x WHERE x.delivery = {notified} AND x.event = 'A.1') c
            WHERE c.evidence = e.evidence""",
    ),
    "mode_is_one": ("UPDATE qerds.delivery SET mode = 'other' WHERE id = {notified}",),
    "seal_verifies": (
        "UPDATE qerds.evidence_seal SET signature = (SELECT signature FROM qerds.evidence_seal WHERE evidence = "
        + EVIDENCE % "C.1"
        + ") WHERE evidence = "
        + EVIDENCE % "A.1",
        "UPDATE qerds.evidence_seal SET key_id = 'another' WHERE evidence = " + EVIDENCE % "A.1",
    ),
    "token_verifies": (
        "UPDATE qerds.evidence_token SET token = (SELECT token FROM qerds.evidence_token WHERE evidence = "
        + EVIDENCE % "D.1"
        + ") WHERE evidence = "
        + EVIDENCE % "E.1",
        "UPDATE qerds.evidence_token SET gen_time = gen_time + interval '1 s' WHERE evidence = " + EVIDENCE % "A.1",
    ),
    "event_is_not_before_its_predecessor": (
        "UPDATE qerds.evidence SET event_time = event_time - interval '1 h' WHERE evidence = " + EVIDENCE % "C.1",
        "UPDATE qerds.delivery SET submitted_at = submitted_at + interval '1 h' WHERE id = {received}",
    ),
    "event_is_of_its_drafts_time": (
        "UPDATE qerds.evidence SET event_time = event_time - interval '20 days' WHERE evidence = " + EVIDENCE % "C.1",
        "UPDATE qerds.evidence SET drafted_at = drafted_at - interval '400 days' WHERE evidence = " + EVIDENCE % "C.1",
    ),
    "token_is_not_later": (
        "UPDATE qerds.evidence_token SET gen_time = gen_time + interval '400 days' WHERE evidence = "
        + EVIDENCE % "A.1",
    ),
    "token_is_not_older": (
        "UPDATE qerds.evidence_token SET gen_time = gen_time - interval '1 h' WHERE evidence = " + EVIDENCE % "A.1",
    ),
    "state_follows_stamped_evidence": (
        "UPDATE qerds.delivery SET state = 'notified' WHERE id = {accepted}",
        "UPDATE qerds.delivery SET state = 'received' WHERE id = {accepted}",
    ),
    "stamped_prefix_is_right": (
        "UPDATE qerds.delivery SET stamped_through = 1 WHERE id = {notified}",
        "UPDATE qerds.delivery SET stamped_through = 9 WHERE id = {notified}",
    ),
    "deposit_time_is_its_evidences": (
        "UPDATE qerds.delivery SET settled_at = settled_at + interval '1 ms' WHERE id = {notified}",
        "UPDATE qerds.delivery SET settled_at = NULL WHERE id = {refused}",
        "UPDATE qerds.delivery SET changed_at = NULL WHERE id = {notified}",
    ),
    "number_is_well_formed": ("UPDATE qerds.delivery SET number = '12345678901234' WHERE id = {notified}",),
    "consent_request_is_asked": (
        CONSENT_REQUEST,
        CONSENT_REQUEST
        + """; INSERT INTO qerds.consent_mail
            SELECT id, 'm', sha256(''), sha256(''), '', now() FROM qerds.consent_request;
            INSERT INTO outbox.notify (lane, kind, subject) SELECT 2, 'ask_consent', id FROM qerds.consent_request""",
    ),
}


@pytest.mark.parametrize(
    ("predicate", "plant"),
    [(predicate, plant) for predicate, plants in PLANTED.items() for plant in plants],
    ids=[f"{predicate}-{n}" for predicate, plants in PLANTED.items() for n in range(len(plants))],
)
async def test_a_planted_violation_is_found(healthy: Healthy, predicate: str, plant: str) -> None:
    """The predicate meant for it fails, so that a silent ledger check means something."""
    database = healthy.copy()
    who = {name: f"'{getattr(healthy.letters, name)}'" for name in Letters.__dataclass_fields__}
    for name, quoted in who.items():
        plant = plant.replace("{" + name + "}", quoted)
    healthy.server.psql("SET session_replication_role = replica; " + plant, database.name)
    found = await violations(healthy, database)
    healthy.server.drop(database)
    assert predicate in {violation.predicate for violation in found}


async def test_what_was_proved_late_is_told_and_breaks_nothing(healthy: Healthy) -> None:
    """As after an outage: the row says by how much; the letter's own predicates are not about it."""
    database = healthy.copy()
    operator = Database(small_ledger.config_of(database, Path("/none")).database.dsn("qerds_operate"))
    try:
        [row] = await operator.fetch("ledger_proved_late", 0.0)
        assert row["evidences"] > 0 and (line := late_line(row, 0.0)) is not None
        assert f"{row['evidences']} evidences were proved more than 0 s after they happened" in line
        [none] = await operator.fetch("ledger_proved_late", 10.0**7)
        assert (none["evidences"], late_line(none, 10.0**7)) == (0, None)
    finally:
        await operator.close()
    healthy.server.drop(database)


async def test_a_foreign_authority_is_noticed(healthy: Healthy) -> None:
    """Keys that the pinned CA did not certify make every seal and token suspect."""
    database = healthy.copy()
    found = await violations(replace(healthy, anchor=pki.authority("Another Authority").der), database)
    healthy.server.drop(database)
    assert {violation.predicate for violation in found} == {"seal_verifies", "token_verifies"}


def test_every_predicate_has_a_planted_violation() -> None:
    """No predicate is merely believed to work. Those over the bridge's record: tests/db/test_ledger_record.py."""
    assert set(PLANTED) == set(PREDICATES) - set(RECORD_PREDICATES)


def test_the_page_of_invariants_names_every_predicate() -> None:
    """docs/invariants.md and the check are one list: what is promised is checked, what is checked is promised."""
    told = re.findall(r"^\| `([a-z_]+)` \|", INVARIANTS.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(PREDICATES)
