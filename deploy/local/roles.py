"""The database, its login roles and their passwords.

Owns     one password file per role below secrets/database, schemas/roles.sql, CREATE DATABASE, schemas/database.sql
Rules    may be repeated at every start: what exists stays, and the passwords are set to what the files say
Elsewhere: tables and grants (schemas/migrations)
"""

import os
import re
import secrets
from pathlib import Path

from deploy.local import postgres
from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.secret_file import read_secret

ROLES_FILE = Path(__file__).resolve().parents[2] / "schemas" / "roles.sql"
OWNER = "qerds_owner"
ROLES = tuple(dict.fromkeys(re.findall(r"'(qerds_[a-z]+)'", ROLES_FILE.read_text())))  # written once: there
DATABASE_FILE = ROLES_FILE.with_name("database.sql")
PASSWORD_BYTES = 24


def prepare_roles(cluster: postgres.Cluster, database: DatabaseSettings) -> None:
    """Roles, passwords and the empty database."""
    database.password_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    statements = [ROLES_FILE.read_text()]
    for role in ROLES:
        password = secret_in(database.password_dir / role)
        statements.append(f"ALTER ROLE {role} PASSWORD '{password}';")
    postgres.psql(cluster, "\n".join(statements))
    name = database.name  # our own constant, or a test's
    if not postgres.psql(cluster, f"SELECT 1 FROM pg_database WHERE datname = '{name}';"):  # noqa: S608
        postgres.psql(cluster, f"CREATE DATABASE {name} OWNER {OWNER};")
    # Otherwise every role may connect and make temporary tables.
    grant = f"GRANT CONNECT ON DATABASE {name} TO {', '.join(ROLES)};"
    postgres.psql(cluster, f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; {grant}")
    postgres.psql(cluster, DATABASE_FILE.read_text(), name)


def secret_in(path: Path) -> str:
    """The secret in this file, made on first use; written whole or not at all. URL-safe text: no quoting anywhere."""
    if not path.exists():
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(PASSWORD_BYTES) + "\n")
        draft.rename(path)
    return read_secret(path)
