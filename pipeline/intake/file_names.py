"""Names of documents: which of them a recipient may be handed.

Owns     what a name may end in, and what may stand before the ending
Rules    a name that has an ending has one of its document's type; one without is fine, because nothing opens it
         unasked. So no list decides what runs: all that is not a PDF's, a picture's or a text's ending is refused
         right before the ending there is none that runs, and none of another type: where endings are not shown,
         `invoice.exe.pdf` is shown as `invoice.exe`
         nothing that a desktop takes away or takes for something else: a dot or a space at an end, a colon (a stream of
         another file), a device's name, a character that looks like a dot, a folder
Elsewhere: its characters (characters.py), its length (reading.py), whether the bytes are of the type (content/types.py)
Source   RUNS: Microsoft, "Blocked attachments in Outlook" and the PATHEXT of Windows; Apple, the uniform type
         identifiers that conform to public.executable, public.script and com.apple.package; freedesktop.org,
         shared-mime-info, the types below application/x-executable and application/x-shellscript
         DEVICES: Microsoft, "Naming Files, Paths, and Namespaces"
"""

import re
import unicodedata
from collections.abc import Mapping

from pipeline.content.types import JPEG, PDF, PNG, TEXT

ENDINGS: Mapping[str, tuple[str, ...]] = {
    PDF: ("pdf",),
    PNG: ("png",),
    JPEG: ("jpg", "jpeg"),
    TEXT: ("txt", "text", "md", "log", "csv", "tsv"),
}
ALL_ENDINGS = frozenset(ending for endings in ENDINGS.values() for ending in endings)
_RUNS = """
# Windows: programs, scripts, installers, shortcuts, control files, disk images, documents that hold macros
accda accdb accde accdr ade adp app appcontent-ms application appref-ms appx appxbundle asp aspx asx
bas bat bgi cab cdxml cer chm cmd cnt com cpl crt csh der desklink diagcab diagpkg dll docm dotm
drv exe fxp gadget grp hlp hpj hta htc htm html img inf ins inx iqy isp iso isu its jar job jnlp js
jse ksh library-ms lnk mad maf mag mam mapimail maq mar mas mat mau mav maw mcf mda mdb mde mdt mdw
mdz mht mhtml msc msh msh1 msh1xml msh2 msh2xml mshxml msi msix msixbundle msp mst msu mydocs ocx
one onepkg ops osd paf pcd pif pl plg potm ppam ppsm pptm prf prg printerexport ps1 ps1xml ps2
ps2xml psc1 psc2 psd1 psdm1 psm1 pssc pst py pyc pyd pyo pyw pyz pyzw rdp reg rgs scf scr sct
search-ms searchconnector-ms settingcontent-ms shb shs slk svg svgz swf sys theme themepack tmp u3p
udl url vb vbe vbp vbs vbscript vhd vhdx vsmacros vsw vxd webpnp website wiz ws wsb wsc wsf wsh
xbap xhtml xla xlam xll xlm xlsb xlsm xltm xml xnk xsl xslt zfsendtotarget
# macOS
action bundle caction command dmg fileloc ftploc inetloc kext mobileconfig mpkg pkg prefpane scpt
scptd service terminal tool webarchive webloc workflow
# Linux and others
apk appimage bash bin class deb desktop elf flatpakref ipa lua out php pm rb rpm run sh snap so tcl
wasm zsh
# archives, which hold any of these
7z ace arj bz2 gz lha lzh r00 rar tar tbz tgz txz uue xz z zip zst
"""
RUNS = frozenset(word for line in _RUNS.splitlines() if not line.startswith("#") for word in line.split())
DEVICES = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$")
ELLIPSIS = "\u2026"  # three dots, and nobody's ending


def name_mistake(name: str) -> str | None:
    """What is wrong with a name, whatever the document is."""
    if "/" in name or "\\" in name:
        return "must be a name without folders"
    if ":" in name:
        return "must be a name without a colon, behind which some systems look for another file"
    if name.startswith(".") or name.endswith((".", " ")):
        return "must not begin with a dot, nor end with one or with a space"
    if _folded(name).count(".") != name.count("."):
        return "must not have a character that looks like a dot"
    first, *parts = (part.strip() for part in _folded(name).split("."))
    endings = parts[-2:]
    if DEVICES.fullmatch(first):
        return "must not be the name of a device"
    running = next((ending for ending in endings if ending in RUNS), None)
    if running is not None:
        return f"must not have the ending .{running}, which runs on some desktop or holds what does"
    if endings and endings[-1] not in ALL_ENDINGS:
        return f"must end in one of .{', .'.join(sorted(ALL_ENDINGS))}, or have no dot"
    if len(endings) > 1 and endings[0] in ALL_ENDINGS and not _are_of_one_type(*endings):
        return f"must not have the ending .{endings[0]} before .{endings[1]}"
    return None


def ending_mistake(name: str, content_type: str) -> str | None:
    """What is wrong with the ending of a name that `name_mistake` let pass, when the document is of this type."""
    _, dot, ending = _folded(name).rpartition(".")
    endings = ENDINGS.get(content_type, ())
    if dot and ending not in endings:
        return f"must end in .{' or .'.join(endings)}: the document is {content_type}"
    return None


def _folded(name: str) -> str:
    """As a desktop compares names, and with letters and dots of other forms as what they look like."""
    return unicodedata.normalize("NFKC", name.replace(ELLIPSIS, " ")).casefold()


def _are_of_one_type(first: str, second: str) -> bool:
    return any(first in endings and second in endings for endings in ENDINGS.values())
