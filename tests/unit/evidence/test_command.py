"""The command line: its exit codes, its words, and that it needs nothing but the two packages it is made of."""

from __future__ import annotations

import json
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from pipeline.evidence.languages import LANGUAGES
from pipeline.evidence.verification.__main__ import main
from pipeline.evidence.verification.words import LABELS, STANDING, VERDICTS
from tests.fakes import letters
from tests.unit.evidence.conftest import Letter

RESERVED = ("qualified", "qualifié", "LRE", "lettre recommandée électronique")


@pytest.fixture
def files(letter: Letter, tmp_path: Path) -> Path:
    (tmp_path / "letter.asice").write_bytes(letter.package)
    (tmp_path / "deposit.xml").write_bytes(letter.documents[0])
    (tmp_path / "ca.pem").write_bytes(letter.provider.root.pem)
    (tmp_path / "letter.pdf").write_bytes(letters.CONTENT)
    (tmp_path / "damaged.asice").write_bytes(letter.package.replace(b"Ch\xc3\xa2teau", b"Ch\xc3\xa2teaO"))
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8 not a proof")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "last"),
    [
        (["letter.asice", "--trust", "ca.pem", "--content", "letter.pdf"], 0, "VALID ("),
        (["deposit.xml", "--trust", "ca.pem"], 0, "VALID ("),
        (["damaged.asice", "--trust", "ca.pem"], 1, "INVALID: "),
        (["letter.asice", "--trust", "ca.pem", "--content", "ca.pem"], 1, "INVALID: "),
        (["picture.jpg", "--trust", "ca.pem"], 2, "NOT A PROOF: "),
        (["letter.asice"], 3, "CANNOT TELL: "),
        (["letter.asice", "damaged.asice", "picture.jpg"], 1, "NOT A PROOF: "),
        (["letter.asice", "--trust", "ca.pem", "--at", "2026-03-02T10:00:00Z"], 1, "INVALID: "),
    ],
)
def test_exit_code_and_last_line(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    last: str,
) -> None:
    """0 valid, 1 invalid, 2 not a proof, 3 cannot tell; the last line says which and why."""
    monkeypatch.chdir(files)
    assert main(arguments) == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(last)


def test_what_cannot_be_read_is_wrong_usage(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file, an anchor that is none, or an unknown report form is said on stderr with exit 2."""
    package, ca = str(files / "letter.asice"), str(files / "ca.pem")
    for arguments in (
        [str(files / "missing")],
        [package, "--trust", package],
        [package, "--content", str(files / "missing")],
        [package, "--trust", ca, "--report", str(files / "report.doc")],
    ):
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith("verify: ")


def test_json_is_for_programs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives codes, steps and facts; a failed proof shows no facts."""
    main([str(files / "letter.asice"), "--trust", str(files / "ca.pem"), "--json"])
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["failed_check"]) == ("valid", None)
    assert [event["event"] for event in report["facts"]["events"]] == ["A.1", "C.1", "C.3", "D.1", "E.1"]
    main([str(files / "damaged.asice"), "--json"])
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["failed_check"], report["facts"]) == ("invalid", "container", None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_demonstration_service_says_so_and_no_more(
    files: Path, capsys: pytest.CaptureFixture[str], language: str
) -> None:
    """In every form and language: without legal recognition, and none of the reserved words."""
    shown = ""
    for name in ("letter.asice", "damaged.asice", "picture.jpg"):
        for more in ([], ["--json"], ["--report", str(files / "r.html")], ["--report", str(files / "r.json")]):
            main([str(files / name), "--trust", str(files / "ca.pem"), "--lang", language, *more])
            shown += capsys.readouterr().out
        shown += (files / "r.html").read_text() + (files / "r.json").read_text()
    assert STANDING[language]["non_qualified"] in shown
    for word in RESERVED:
        assert word.lower() not in shown.lower().replace(str(files).lower(), "")


def test_both_languages_say_everything() -> None:
    """No verdict, standing or label lacks its sentence in one of the languages; of a check: test_checks."""
    for table in (LABELS, VERDICTS, STANDING):
        assert set(table["en"]) == set(table["fr"])


def test_a_forged_proof_cannot_write_to_the_page_or_terminal(letter: Letter, tmp_path: Path) -> None:
    """Values from the file are shown escaped: no markup in the HTML report."""
    package = tmp_path / "<script>.asice"
    package.write_bytes(letter.package)
    main([str(package), "--report", str(tmp_path / "r.html")])
    assert "<script>" not in (tmp_path / "r.html").read_text()


def test_it_runs_alone_as_one_file(files: Path, tmp_path: Path) -> None:
    """pipeline.evidence and pipeline.formats zip into one program that needs no other part of this project."""
    source, root = tmp_path / "source", Path(__file__).parents[3]
    for folder in ("evidence", "formats"):
        for file in (root / "pipeline" / folder).rglob("*.py"):
            copy = source / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    (source / "pipeline" / "__init__.py").touch()
    program = tmp_path / "qerds-verify.pyz"
    zipapp.create_archive(source, program, main="pipeline.evidence.verification.__main__:program")
    for name, code, verdict in (("letter.asice", 0, "VALID ("), ("damaged.asice", 1, "INVALID: ")):
        ran = subprocess.run(
            [sys.executable, str(program), str(files / name), "--trust", str(files / "ca.pem")],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (code, "")
        assert ran.stdout.splitlines()[-1].startswith(verdict)
