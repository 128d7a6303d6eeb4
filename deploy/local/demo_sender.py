"""The sample sender of an embedded installation, so that `send` and `demo` work at once.

Owns     one sender, one API client, STATE/secrets/demo-client.json (base_url, client_id, client_secret)
Rules    the secret is made here, once per state directory, and only its digest is stored in the database
Not      here: real senders, who are identified by a person before they are enrolled
"""

import hashlib
import json
import os
import uuid
from pathlib import Path

from deploy.local import postgres
from deploy.local.layout import Layout, Ports
from deploy.local.roles import secret_in
from deploy.local.settings import DATABASE

CLIENT_ID = "demo-sender"
SENDER_ID = uuid.uuid5(uuid.NAMESPACE_URL, "urn:qerds:demo-sender")  # the same in every demonstration
SCOPES = ("deliveries:write", "deliveries:read", "evidence:read", "consents:write")
ENROL = """
INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at)
VALUES ('{sender}', 'Demo Sender', 'sender@demo.example', 'substantial', 'demonstration', clock_timestamp())
ON CONFLICT DO NOTHING;
INSERT INTO qerds.sender_client (client_id, sender, secret_sha256, scopes)
VALUES ('{client}', '{sender}', '\\x{digest}', '{{{scopes}}}')
ON CONFLICT DO NOTHING;
"""


def enrol(cluster: postgres.Cluster, layout: Layout, ports: Ports) -> None:
    """May be repeated: what is enrolled stays. The file is written at each start, because the port may have changed."""
    secret = secret_in(layout.secrets / "demo-client-secret")
    digest = hashlib.sha256(secret.encode()).hexdigest()
    values = {"sender": SENDER_ID, "client": CLIENT_ID, "digest": digest, "scopes": ",".join(SCOPES)}
    postgres.psql(cluster, ENROL.format(**values), DATABASE)
    client = {"base_url": ports.gateway_url, "client_id": CLIENT_ID, "client_secret": secret}
    _write_private(layout.demo_client, json.dumps(client) + "\n")


def _write_private(path: Path, text: str) -> None:
    """Whole, by rename, for us alone."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.rename(path)
