"""The dashboard and the alert rules name what is exported, and every alert has its entry for the person it wakes."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pipeline.process import measures

ROOT = Path(__file__).resolve().parents[3]
OBSERVE = ROOT / "deploy" / "observe"
SERIES = re.compile(r"qerds_[a-z0-9_]+")
SUFFIXES = re.compile(r"_(bucket|sum|count)$")
SEVERITIES = ["legal", "proof", "comfort"]  # in the order of the groups


def exported() -> set[str]:
    """Every series there is, from the table that declares them."""
    return {measure.name for measure in vars(measures).values() if isinstance(measure, measures.Measure)}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OBSERVE / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [{**rule, "group": group["name"]} for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads((OBSERVE / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return shown + [rule["expr"] for rule in rules()]


def test_every_series_that_is_asked_for_is_exported() -> None:
    """A dashboard of a series that nobody writes is empty, and an alert on it never fires."""
    asked = {SUFFIXES.sub("", name) for expression in expressions() for name in SERIES.findall(expression)}
    assert asked <= exported()
    assert len(asked) > 12


def test_alerts_come_by_legal_slack_first() -> None:
    """What the law sets a day for, then what endangers proof, then comfort."""
    found = [rule["labels"]["severity"] for rule in rules()]
    assert found == sorted(found, key=SEVERITIES.index)
    assert set(found) == set(SEVERITIES)
    assert "qerds_legal_slack_seconds" in rules()[0]["expr"]


def test_every_alert_has_a_runbook_entry() -> None:
    """A heading in docs/operate.md with what it means, its legal effect and the first commands."""
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    for rule in rules():
        name = rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{name.lower()}"
        entry = text.partition(f"#### {name}\n")[2].partition("\n#")[0]
        assert "Legal effect:" in entry, name
        assert entry.count("    ./qerds ") >= 1, name


def test_every_alert_is_tried() -> None:
    """alerts_test.yaml fires and clears each of them."""
    tests = yaml.safe_load((OBSERVE / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    tried: dict[str, set[bool]] = {}
    for one in tests:
        for check in one["alert_rule_test"]:
            tried.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    assert tried == {rule["alert"]: {True, False} for rule in rules()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_the_rules_do_what_they_say() -> None:
    """Prometheus's own judgement: syntax, and each alert firing and clearing."""
    for words in (("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")):
        told = subprocess.run(
            ["promtool", *words], cwd=OBSERVE, capture_output=True, text=True, timeout=60, check=False
        )
        assert told.returncode == 0, told.stdout + told.stderr


def test_the_table_of_the_docs_is_what_is_exported() -> None:
    """Somebody's own dashboards are built on it: none is renamed or dropped by accident, none is a secret."""
    table = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8").partition("### Series\n")[2].partition("\n##")[0]
    assert set(SERIES.findall(table)) == exported()
