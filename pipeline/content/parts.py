"""How a file that is sent in parts is cut.

Every part but the last has the length that was answered to the announcement, and that the upload's row keeps. A part
has a key of its own, and a letter's wrap holds 200 keys: ten for each of twenty documents.
"""

PARTS_MAX = 10
PART_BYTES_MIN = 16 * 1024 * 1024  # a broken connection costs one part; shorter parts would cost more requests
MEBIBYTE = 1024 * 1024


def part_bytes_of(content_bytes: int) -> int:
    """The length of a part: whole MiB, so that at most PARTS_MAX make the file."""
    share = -(-content_bytes // PARTS_MAX)
    return max(PART_BYTES_MIN, -(-share // MEBIBYTE) * MEBIBYTE)


def parts_of(content_bytes: int, part_bytes: int) -> int:
    """How many parts there are."""
    return -(-content_bytes // part_bytes)


def part_length(content_bytes: int, part_bytes: int, number: int) -> int:
    """The length of part `number`, counted from 1."""
    return min(part_bytes, content_bytes - (number - 1) * part_bytes)
