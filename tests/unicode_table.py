"""pipeline/intake/characters.txt: what Unicode says of each character, as far as intake asks.

Run as a module, it writes the file from Debian's package unicode-data; the folder of its files may be given where the
package is not installed.

Owns     the reading of the Unicode Character Database
Elsewhere: what intake makes of it (pipeline/intake/characters.py), that the file is as the database is
           (tests/unit/intake/test_characters.py)
Source   Unicode Standard Annex 44: UnicodeData, PropList, DerivedCoreProperties, Scripts, ScriptExtensions,
         PropertyValueAliases, DerivedJoiningType
"""

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

FOLDER = Path("/usr/share/unicode")  # of Debian's unicode-data
FILE = Path(__file__).resolve().parents[1] / "pipeline" / "intake" / "characters.txt"
COMMAND = "PYTHONPATH=. .qerds/venv/bin/python -P -m tests.unicode_table"
CODES = range(0x110000)
NONCHARACTERS = frozenset(range(0xFDD0, 0xFDF0)) | {code for code in CODES if code & 0xFFFE == 0xFFFE}
IDEOGRAPHS_TO_COME = range(0x20000, 0x40000)  # reserved for Han (Unicode Standard, section 2.8: planes 2 and 3)
REFUSED = {  # by general category
    "Cc": "control",
    "Cf": "format",
    "Cs": "surrogate",
    "Co": "private",
    "Cn": "unassigned",
    "Zl": "separator",
    "Zp": "separator",
}


def version(folder: Path) -> str:
    """Of the database."""
    found = re.match(r"# Scripts-([\d.]+)\.txt", (folder / "Scripts.txt").read_text("utf-8"))
    if found is None:
        raise ValueError(f"{folder} holds no Scripts.txt")
    return found[1]


def property_of(path: Path, name: str | None = None) -> dict[int, str]:
    """By code point: the value in the second column; with a name, where that is the value."""
    values = {}
    for line in path.read_text("utf-8").splitlines():
        codes, _, rest = line.split("#")[0].partition(";")
        if rest and name in (None, rest.strip()):
            for code in span(codes.strip()):
                values[code] = rest.strip()
    return values


def span(codes: str) -> range:
    """A code point, or the first and the last of several."""
    first, _, last = codes.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


def categories(folder: Path) -> dict[int, str]:
    """The general category of each character that there is (UnicodeData names ranges by their two ends)."""
    values: dict[int, str] = {}
    begun = 0
    for line in (folder / "UnicodeData.txt").read_text("utf-8").splitlines():
        code, name, category = line.split(";")[:3]
        if name.endswith(", First>"):
            begun = int(code, 16)
            continue
        first = begun if name.endswith(", Last>") else int(code, 16)
        values |= dict.fromkeys(range(first, int(code, 16) + 1), category)
    return values


def words(folder: Path) -> Iterator[str]:
    """Of each code point in order: why it is refused, or its scripts, with how it joins where that is not `U`."""
    category = categories(folder)
    aliases = re.findall(
        r"^sc ; (\w+) *; (\w+)", (folder / "PropertyValueAliases.txt").read_text("utf-8"), re.MULTILINE
    )
    short = {long: code for code, long in aliases}
    script = property_of(folder / "Scripts.txt")
    scripts = property_of(folder / "ScriptExtensions.txt")
    joining = property_of(folder / "extracted" / "DerivedJoiningType.txt")
    ignorable = property_of(folder / "DerivedCoreProperties.txt", "Default_Ignorable_Code_Point")
    bidi = property_of(folder / "PropList.txt", "Bidi_Control")
    for code in CODES:
        refused = REFUSED.get(category.get(code, "Cn"))
        if code in NONCHARACTERS:
            yield "noncharacter"
        elif code in bidi:
            yield "bidi"
        elif 0xE0000 <= code <= 0xE007F:
            yield "tag"
        elif code in ignorable:
            yield "ignorable"
        elif refused == "unassigned" and code in IDEOGRAPHS_TO_COME:
            yield "Hani"
        elif refused is not None:
            yield refused
        else:
            joins = joining.get(code, "U")
            yield f"{scripts.get(code) or short[script[code]]}{f' joining-{joins}' if joins in 'LRD' else ''}"


def table(folder: Path) -> str:
    """The file: a line a range, its first character and what holds up to the next line."""
    lines = [
        f"# What Unicode {version(folder)} says of characters: why one is refused, or its scripts and how it joins.",
        f"# Made by {COMMAND}",
        f"# unicode {version(folder)}",
    ]
    code = 0
    for word, run in groupby(words(folder)):
        lines.append(f"{code:04X} {word}")
        code += sum(1 for _ in run)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(table(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER), "utf-8")
