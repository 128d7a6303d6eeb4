"""Write STATE/qerds.toml, the one file that every process of the installation reads.

Owns     the values of an embedded installation, and adding the operator's own from STATE/options.toml
Rules    written whole at every start (the run directory changes), by rename, so that no process reads half of it
         options.toml adds keys; one that is set here is refused there, because processes were started by its value
Elsewhere: the shape and its checks (pipeline/formats/configuration.py)
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from deploy.local.layout import HOST, Layout, TcpPorts
from deploy.local.softhsm import SoftToken
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import read_table
from pipeline.formats.identity_providers import EMBEDDED

DATABASE = "qerds"
# Arcs below 2.25 are UUIDs that anybody may make (ITU-T X.667); this one was made for this project.
POLICY_ARC = "2.25.329800735698586629295641978511506172918"

Value = str | int | bool | Path | Mapping[str, object]


def sections(layout: Layout, ports: TcpPorts, run_dir: Path, token: SoftToken) -> dict[str, Value]:
    """The whole configuration as a table. Raises ConfigInvalid for options that cannot be added."""
    own = read_table(layout.options) if layout.options.exists() else {}
    public_url = ports.gateway_url
    table: dict[str, Value] = {
        "config_version": "embedded-1",
        "mode": "non_qualified",
        "embedded": True,
        "provider": {
            "name": "Demo Registered Delivery",
            "country": "FR",
            "policy_oid": f"{POLICY_ARC}.1",
            "tsa_policy_oid": f"{POLICY_ARC}.2",
        },
        "database": {
            "socket_dir": run_dir / "pg",
            "port": ports.database,
            "name": DATABASE,
            "password_dir": layout.database_passwords,
        },
        "token": {
            "module": token.module,
            "softhsm_conf": token.conf,
            "label": token.label,
            "pin_file": token.pin_file,
        },
        "bridge": {
            "socket_dir": run_dir / "bridge",
            "data_dir": layout.bridge,
            "public_dir": layout.trust,
            "allowed_uids": {},
        },
        "objects": {} if "objects" in own else {"root": layout.objects},
        "mail": {"host": HOST, "port": ports.smtp, "security": "none", "from_address": "notice@registered.example"},
        "gateway": {"host": HOST, "port": ports.gateway, "public_url": public_url},
        "webhooks": {"loopback_http": True},
        "identity": {
            "minimum_level": "substantial",
            "providers": {
                EMBEDDED: {
                    "kind": "franceconnect_plus",
                    "issuer": f"http://{HOST}:{ports.identity}",
                    "client_id": "qerds-portal",
                    "client_secret_file": layout.secrets / "identity-client-secret",
                    "jwks_file": layout.trust / "identity-provider.jwks.json",
                }
            },
        },
    }
    return table | {name: _added(table, name, options) for name, options in own.items()}


def _added(table: Mapping[str, Value], name: str, options: object) -> Value:
    """A section with the operator's options in it. What they are is checked by who reads the whole."""
    section = table.get(name, {})
    if not isinstance(section, Mapping) or not isinstance(options, Mapping):
        raise ConfigInvalid(f"options.toml: {name} is no section that takes options; see docs/configuration.md")
    taken = sorted(section.keys() & options.keys())
    if taken:
        raise ConfigInvalid(f"options.toml: {name}.{taken[0]} is set by ./qerds up; take it out")
    return {**section, **options}


def write(path: Path, table: Mapping[str, Value]) -> None:
    """The table as TOML; only we can read it."""
    lines = ["# Written by ./qerds up at every start; changes are lost."]
    lines += [f"{name} = {_toml(value)}" for name, value in table.items() if not isinstance(value, Mapping)]
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {_toml(inner)}" for key, inner in value.items())]
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    draft.rename(path)


def _toml(value: object) -> str:
    """A TOML value. JSON's strings, numbers and booleans are TOML's, but for DEL, which no path of ours has."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(key))} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
