"""An S3 server for tests: a SeaweedFS on loopback that knows two identities.

Owns     starting it, killing it, starting it again on what it left, buckets; all in a folder of its own
Rules    every port is named: it would take well-known ones otherwise, and die where one is taken. It calls nobody
Elsewhere: the fixtures (tests/s3/conftest.py), what a store must do (tests/contract/objects_cases.py)
"""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

from deploy.local.children import child_environment, die_with_parent
from deploy.local.recipient import wait_for
from pipeline.formats.configuration import S3

HOST = "127.0.0.1"
REGION = "us-east-1"
PROCESS = "tests"  # whose key WRITER is
START_SECONDS = 60.0  # some 5 s, some 15 s on data that a kill left
WRITER = ("writer-key", "writer-secret-0123456789")
READER = ("reader-key", "reader-secret-0123456789")
READER_PROCESS = "reader"


class S3Server:
    """One server; it answers when it is made."""

    def __init__(self, home: Path) -> None:
        self._home = home
        names = ("master", "volume", "filer", "s3", "master.grpc", "volume.grpc", "filer.grpc", "s3.grpc")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        for folder in ("data", "keys", "sockets"):
            (home / folder).mkdir(mode=0o700)
        (home / "identities.json").write_text(json.dumps(identities()))
        write_key(home / "keys" / PROCESS, *WRITER)
        write_key(home / "keys" / READER_PROCESS, *READER)
        self._buckets = 0
        self.process = self._start()
        self._wait_until_it_answers()

    def make_bucket(self) -> S3:
        """A new, empty one, as the configuration of an installation names it. A folder of the filer is a bucket."""
        self._buckets += 1
        name = f"letters-{self._buckets}"
        wait_for("a bucket", lambda: reached(f"{self._filer}/buckets/{name}/", "POST"), START_SECONDS)
        return S3(f"http://{HOST}:{self._ports['s3']}", name, REGION, self._home / "keys")

    def unfinished(self, bucket: S3) -> int:
        """How many multipart uploads of a bucket are neither complete nor given up."""
        address = f"{self._filer}/buckets/{bucket.bucket}/.uploads/"
        answer = httpx.get(address, headers={"Accept": "application/json"}, timeout=5, trust_env=False)
        return len(answer.json()["Entries"] or []) if answer.is_success else 0

    def kill(self) -> None:
        """SIGKILL, and gone on return."""
        self.process.kill()
        self.process.wait(10)

    def pause(self) -> None:
        """It hangs on return: connections open, nobody answers, the last of its threads has stopped."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """It answers again."""
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """On the data that is there."""
        self.process = self._start()
        self._wait_until_it_answers()

    def _start(self) -> "subprocess.Popen[bytes]":
        port = self._ports
        command = [
            str(Path(sys.executable).parent / "weed"),
            "server",
            f"-dir={self._home / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            f"-master.port={port['master']}",
            f"-master.port.grpc={port['master.grpc']}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=256",
            f"-volume.port={port['volume']}",
            f"-volume.port.grpc={port['volume.grpc']}",
            "-volume.max=1000",  # each bucket takes some
            "-filer",
            f"-filer.port={port['filer']}",
            f"-filer.port.grpc={port['filer.grpc']}",
            f"-filer.localSocket={self._home / 'sockets' / 'filer'}",
            "-s3",
            f"-s3.port={port['s3']}",
            f"-s3.port.grpc={port['s3.grpc']}",
            f"-s3.localSocket={self._home / 'sockets' / 's3'}",
            f"-s3.config={self._home / 'identities.json'}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        with (self._home / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env=child_environment({"TMPDIR": str(self._home / "sockets")}),
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    @property
    def _filer(self) -> str:
        return f"http://{HOST}:{self._ports['filer']}"

    def _wait_until_it_answers(self) -> None:
        wait_for("the S3 server", lambda: reached(f"http://{HOST}:{self._ports['s3']}/healthz"), START_SECONDS)


def identities() -> dict[str, object]:
    """The server's own configuration: who may do what. Its `Write` would be the right to delete, too."""
    may = {WRITER: ["Admin"], READER: ["Read", "List"]}
    return {
        "identities": [
            {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
            for (key, secret), actions in may.items()
        ]
    }


def write_key(path: Path, access_key_id: str, secret: str) -> None:
    """A credentials file as an operator writes it."""
    path.write_text(f"{access_key_id}\n{secret}\n")
    path.chmod(0o600)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def reached(url: str, method: str = "GET") -> bool:
    """Whether it answers and is content."""
    try:
        return httpx.request(method, url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
