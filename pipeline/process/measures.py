"""Every series that a process of ours exports, declared once: its name, what it tells, its labels, its buckets.

Owns     the names: they are part of the operating interface (docs/operate.md, and the dashboards and alerts on it)
Rules    no identifier is ever a label: stages, lanes, outcomes and routes only. Who counts gives the values of labels
         in the order declared here; `of_process` is the label that names the process, which its recorder fills in.
         A series is exported from the first time that it is counted, set or observed
Elsewhere: counting (recorder.py), the text (exposition.py)
"""

from dataclasses import dataclass
from typing import Self

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 3600.0)
HTTP_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)  # each one a series
BRIDGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
MESSAGES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A declared series. Two are the same only when they are the same row of this table."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    of_process: str = ""

    @property
    def label_names(self) -> tuple[str, ...]:
        """As exported, the process first."""
        return (self.of_process, *self.labels) if self.of_process else self.labels

    def of(self, *values: str) -> tuple[Self, tuple[str, ...]]:
        """This series with the values of its labels. Raises ValueError when they are too few or too many."""
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has {len(self.labels)} labels, not {len(values)}")
        return self, values


@dataclass(frozen=True, slots=True, eq=False)
class Counter(Measure):
    """Only goes up, from 0 at the start of its process."""


@dataclass(frozen=True, slots=True, eq=False)
class Gauge(Measure):
    """How it is now."""


@dataclass(frozen=True, slots=True, eq=False)
class Histogram(Measure):
    """How values are spread. bounds: the upper ends of its buckets, rising."""

    bounds: tuple[float, ...] = SECONDS


# ------------------------------------------------------------------ every process
BUILD = Gauge("qerds_build_info", "What runs: 1", ("version", "config_version"))
RESIDENT_BYTES = Gauge("qerds_process_resident_bytes", "Memory", of_process="kind")

# ------------------------------------------------------------------ the gateway
HTTP_REQUESTS = Counter("qerds_http_requests_total", "Requests", ("method", "route", "status"))
HTTP_REQUEST_SECONDS = Histogram(
    "qerds_http_request_seconds",
    "Time of a request, download included",
    ("face", "route", "status"),
    bounds=HTTP_SECONDS,
)
HTTP_REJECTED = Counter("qerds_http_rejected_total", "Requests answered with a problem, by its code", ("reason",))
CONNECTIONS_ENDED = Counter("qerds_connections_ended_total", "Connections that the gateway ended", ("reason",))
UPLOAD_BYTES = Counter("qerds_upload_bytes_total", "Bytes of documents stored, as their senders gave them")

# ------------------------------------------------------------------ the runtime of the stages
STAGE_MESSAGES = Counter("qerds_stage_messages_total", "What became of messages", ("outcome",), "stage")
STAGE_WAIT = Histogram("qerds_stage_wait_seconds", "From the emission to the take", of_process="stage")
STAGE_PERFORM = Histogram("qerds_stage_perform_seconds", "Outside, for a batch", of_process="stage")
STAGE_COMMIT = Histogram("qerds_stage_commit_seconds", "Inside, for a batch", of_process="stage")
STAGE_BATCH = Histogram("qerds_stage_batch_messages", "Messages in a batch", of_process="stage", bounds=MESSAGES)
TAKEN = Counter("qerds_taken_total", "Messages taken", of_process="stage")
RESCUED = Counter("qerds_rescued_total", "Messages freed of a dead process", of_process="stage")
STALE_ACKS = Counter("qerds_stale_acks_total", "Messages done that a rescue had taken", of_process="stage")
TIMERS_FIRED = Counter("qerds_timers_fired_total", "Timers that became messages", of_process="stage")
EPOCHS_LOST = Counter("qerds_epochs_lost_total", "Epochs that ended unasked", of_process="stage")

# ------------------------------------------------------------------ what stages and gateway ask of the outside
OBJECT_SECONDS = Histogram("qerds_object_request_seconds", "The object store's own time", ("op", "result"))
OBJECT_ERRORS = Counter("qerds_object_errors_total", "The object store was away", ("op",))
CLEANED_OBJECTS = Counter("qerds_cleaned_objects_total", "Objects that the cleaning removed", of_process="stage")
MAILS = Counter("qerds_mail_total", "Mails by what the relay's answer is about", ("relay", "class"))
RELAY_UP = Gauge("qerds_relay_up", "0 while the relay takes nobody's mail: all but a probe wait", of_process="stage")
PUBLISHED_REFUSED = Counter(
    "qerds_published_refused_total", "Published rows that the pinned authority does not state", ("what",)
)
TSA_REQUESTS = Counter("qerds_tsa_requests_total", "Digests to be stamped", ("authority", "result"))
TSA_SECONDS = Histogram("qerds_tsa_request_seconds", "A call for many time-stamps", ("authority",))

# ------------------------------------------------------------------ the bridge
BRIDGE_REQUESTS = Counter("qerds_bridge_requests_total", "Requests", ("op", "caller", "result"))
BRIDGE_REQUEST_SECONDS = Histogram("qerds_bridge_request_seconds", "Time to answer", ("op",), bounds=BRIDGE_SECONDS)
BRIDGE_QUEUE = Gauge("qerds_bridge_queue_items", "Items taken on and not answered")
BRIDGE_TOKEN_UP = Gauge("qerds_bridge_token_up", "1 while the token works")
BRIDGE_CLOCK_OFFSET = Gauge("qerds_bridge_clock_offset_seconds", "The database's clock ahead of the bridge's")
PROOF_LAG = Histogram("qerds_proof_lag_seconds", "From an event to its time-stamp")
PROVED_LATE = Counter("qerds_proved_late_total", "Time-stamps later after their events than time.lag_seconds_max")
CERTIFICATE_EXPIRY = Gauge("qerds_certificate_expiry_timestamp_seconds", "End of the newest certificate", ("use",))
ISSUER_KEYS = Counter("qerds_issuer_keys_total", "Fetches of a provider's keys from its issuer", ("result",))
CRL_EXPIRY = Gauge("qerds_crl_expiry_timestamp_seconds", "When the revocation list runs out")

# ------------------------------------------------------------------ elected processes
ELECTIONS_LOST = Counter("qerds_elections_lost_total", "Sessions that a candidate lost", of_process="stage")
EVENTS_SEQUENCED = Counter("qerds_events_sequenced_total", "Events that got their place", of_process="stage")
WEBHOOKS_WOKEN = Counter("qerds_webhooks_woken_total", "Messages to idle webhooks", of_process="stage")
EVENTS_FORGOTTEN = Counter("qerds_events_forgotten_total", "Events that were too old", of_process="stage")

# ------------------------------------------------------------------ what the elected measurer tells of the installation
OPS_LEADER = Gauge("qerds_ops_leader", "1 where the elected measurer is")
OPS_UNANSWERED = Gauge("qerds_ops_unanswered_measures", "Measures that got no answer")
MAILBOX_READY = Gauge("qerds_mailbox_ready_rows", "Messages that wait", ("stage", "lane"))
MAILBOX_OLDEST = Gauge("qerds_mailbox_oldest_ready_seconds", "How long the first has waited", ("stage", "lane"))
MAILBOX_RUNNING = Gauge("qerds_mailbox_running_rows", "Messages in hands", ("stage",))
TIMERS_OVERDUE = Gauge("qerds_timers_overdue_seconds", "How late the latest timer is", ("kind",))
DEAD_LETTERS = Gauge("qerds_dead_letters", "What waits for a person", ("stage", "reason"))
DEAD_LETTER_OLDEST = Gauge("qerds_dead_letter_oldest_seconds", "Age of the oldest dead letter")
PAUSED = Gauge("qerds_paused", "What is held back", ("scope",))
LEGAL_SLACK = Gauge("qerds_legal_slack_seconds", "The least time left to a duty", ("duty",))
DELIVERIES = Gauge("qerds_deliveries", "Letters", ("state",))
DEPOSIT_SECONDS = Gauge("qerds_submit_to_deposit_seconds", "From submission to proof of deposit", ("lane", "quantile"))
WEBHOOK_LAG = Gauge("qerds_webhook_lag_seconds", "How long the first event has waited", ("endpoint",))
HORIZON = Gauge("qerds_pg_horizon_seconds", "How far back vacuum is held")
DEAD_ROWS = Gauge("qerds_pg_dead_rows", "What vacuum has not removed", ("table",))
DISK_FREE = Gauge("qerds_disk_free_bytes", "Free", ("volume",))
DISK_SIZE = Gauge("qerds_disk_size_bytes", "Of how much", ("volume",))

Series = dict[tuple[Gauge, tuple[str, ...]], float]
