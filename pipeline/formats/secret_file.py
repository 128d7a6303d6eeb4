"""A password, PIN or client secret in a file of its own, read at the moment of use."""

import os
from pathlib import Path

from pipeline.formats.checked_table import ConfigInvalid

SECRET_BYTES_MAX = 4096
EVERYBODY = 0o007  # permission bits


def read_secret(path: Path) -> str:
    """The secret without its final newline. Raises ConfigInvalid, also when everybody on the machine may read it."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & EVERYBODY:
                raise ConfigInvalid(f"{path} can be read by everyone on this machine; chmod 600 it")
            text = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigInvalid(f"cannot read the secret {path}: {error.strerror}") from error
    if len(text) > SECRET_BYTES_MAX:
        raise ConfigInvalid(f"{path} is larger than {SECRET_BYTES_MAX} bytes")
    return text.decode("utf-8").rstrip("\n")
