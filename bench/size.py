"""Scenario size: large documents in and out, and the memory that the gateway needs for them."""

import hashlib
import os
import time
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from statistics import median

import anyio

from bench.context import Bench
from bench.feeding import Feeder, feeder
from bench.installation import Installation
from bench.processes import cpu_seconds, memory_bytes, peak_bytes, reset_peak
from bench.results import Plot, Section
from bench.statistics import ratio_of_runs
from bench.wire import Answered, digest_header
from deploy.local.browser import PersonBrowser
from deploy.local.recipient import Recipient, claim_link

MEBIBYTE = 2**20
SIZES = (256 * MEBIBYTE, 1024 * MEBIBYTE)  # quick, full
WHOLE_BYTES = 100 * MEBIBYTE  # of one body, where a service takes no parts
BLOCK = b"The quick brown fox jumps over the lazy dog, and nobody reads it.\n" * 15_888
ACCEPTED_SECONDS = 300.0
RUNS = 3


def run(bench: Bench) -> Section:
    """Raw write and upload in turn, then one download."""
    section = Section("size", "Large documents")
    it = bench.installation()
    anyio.run(_run, bench, section, it, backend_options={"use_uvloop": True})
    return section


async def _run(bench: Bench, section: Section, it: Installation) -> None:
    size = bench.pick(*SIZES)
    gateway = it.pids()["gateway"]
    raw, up = list[float](), list[float]()
    async with feeder(it) as feed:
        before = memory_bytes({"gateway": gateway})["gateway"]
        reset_peak(gateway)
        resident = peak_bytes(gateway)
        documents: list[dict[str, str]] = []
        for number in range(RUNS):
            bench.say(f"run {number + 1}: raw write and fsync of {size // MEBIBYTE} MiB")
            raw.append(size / _raw_seconds(it.layout.objects, size))
            bench.say(f"run {number + 1}: upload of {size // MEBIBYTE} MiB")
            spent = cpu_seconds({"gateway": gateway})["gateway"]
            seconds, documents = await _upload(feed, size)
            spent = cpu_seconds({"gateway": gateway})["gateway"] - spent
            up.append(size / seconds)
        section.measures["size.upload"] = ratio_of_runs(up, raw)
        section.measures["size.memory"] = max(peak_bytes(gateway) - resident, 0) / MEBIBYTE
        section.figure("raw write and fsync", median(raw) / MEBIBYTE, "MiB/s")
        how = "one document in parts" if len(documents) == 1 else f"{len(documents)} documents in a row"
        section.figure("upload", median(up) / MEBIBYTE, "MiB/s", f"{size // MEBIBYTE} MiB, {how}")
        cpu_ms = spent / (size / MEBIBYTE) * 1000
        section.figure("CPU of the gateway", cpu_ms, "ms/MiB", "SHA-256, SHA3-256 (beside the loop), AES-256-GCM, HTTP")
        section.remarks["size.upload"] = (
            f"the disk takes {median(raw) / MEBIBYTE:,.0f} MiB/s; two digests, cipher and HTTP take {cpu_ms:.1f} ms of "
            "processor a MiB, on two processors that the sender shares"
        )
        section.figure("gateway memory before", before / MEBIBYTE, "MiB")
        bench.say("the document is read back, noticed and accepted")
        await _download(section, feed, it, gateway, documents[0])
    rates = {"rate": [median(raw) / MEBIBYTE, median(up) / MEBIBYTE]}
    section.plots.append(Plot("Into the disk", "bars", "MiB/s", ["raw write and fsync", "upload"], rates))


def _raw_seconds(folder: Path, size: int) -> float:
    """The same bytes on the same disk by write and fsync."""
    path = folder / "raw-of-the-bench"
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size // MEBIBYTE):
            file.write(_mebibyte())
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def _mebibyte() -> bytes:
    return BLOCK[:MEBIBYTE]


async def _upload(feed: Feeder, size: int) -> tuple[float, list[dict[str, str]]]:
    """Seconds, and the documents as a delivery names them. Digests are computed before the clock starts."""
    sha256 = hashlib.sha256()
    for _ in range(size // MEBIBYTE):
        sha256.update(_mebibyte())
    announcement = {
        "sha256": sha256.hexdigest(),
        "bytes": size,
        "file_name": "large.txt",
        "content_type": "text/plain",
    }
    try:
        announced = await feed.sender.json("POST", "/v1/uploads", announcement)
    except Answered:
        return await _upload_whole(feed, size)
    part_bytes = int(announced["part_bytes"])
    part = _mebibyte() * (part_bytes // MEBIBYTE)
    headers = digest_header(part)
    began = time.perf_counter()
    for number in range(-(-size // part_bytes)):
        rest = part[: min(part_bytes, size - number * part_bytes)]
        digest = headers if len(rest) == part_bytes else digest_header(rest)
        path = f"/v1/uploads/{announced['id']}/parts/{number + 1}"
        await feed.sender.call("PUT", path, {"Content-Digest": digest}, rest)
    await feed.sender.call("POST", f"/v1/uploads/{announced['id']}/complete")
    seconds = time.perf_counter() - began
    return seconds, [{"upload_id": announced["id"], "file_name": "large.txt", "sha256": announcement["sha256"]}]


async def _upload_whole(feed: Feeder, size: int) -> tuple[float, list[dict[str, str]]]:
    """As many of the largest single bodies as make up the size."""
    bodies = max(size // WHOLE_BYTES, 1)
    content = _mebibyte() * (WHOLE_BYTES // MEBIBYTE)
    began = time.perf_counter()
    documents = [await feed.sender.upload(content, f"large-{number}.txt") for number in range(bodies)]
    return (time.perf_counter() - began) * size / (bodies * WHOLE_BYTES), documents


async def _download(section: Section, feed: Feeder, it: Installation, gateway: int, document: dict[str, str]) -> None:
    """As the recipient does it. The link is read from the notice's row: the sink keeps no mails."""
    reference = "size-1"
    await feed.submit(reference, document)
    began = time.time()
    await feed.wait("size", "C.1", 1, began, ACCEPTED_SECONDS)
    section.figure("from request to stamped C.1 of it", time.time() - began, "s", "the content is read back once")
    mail = await feed.database.fetchval(
        "SELECT n.mail FROM qerds.notice n JOIN qerds.delivery d ON d.id = n.delivery WHERE d.client_ref = $1",
        reference,
    )
    text = message_from_bytes(mail, policy=default).get_content()
    link = claim_link({"text": text}, it.client["base_url"])
    reset_peak(gateway)
    resident = peak_bytes(gateway)
    seconds, received, digest = await anyio.to_thread.run_sync(_fetch, link)
    if digest != document["sha256"]:
        raise RuntimeError("the downloaded document is not the one that was sent")
    section.figure("download", received / seconds / MEBIBYTE, "MiB/s", f"{received // MEBIBYTE} MiB, digest checked")
    section.figure("gateway memory growth, download", max(peak_bytes(gateway) - resident, 0) / MEBIBYTE, "MiB")


def _fetch(link: str) -> tuple[float, int, str]:
    """Seconds, bytes and digest of the first document."""
    with PersonBrowser() as browser:
        person = Recipient(browser)
        person.follow(link)
        person.identify("angela")
        person.decide("accept")
        page = person.accepted()
        address = page.link("/documents/")
        sha256, received = hashlib.sha256(), 0
        began = time.perf_counter()
        headers = browser._headers(address, "GET", None)  # its own way would hold a gigabyte
        with browser._http.stream("GET", address, headers=headers) as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                sha256.update(piece)
                received += len(piece)
        return time.perf_counter() - began, received, sha256.hexdigest()
