"""A one-page PDF to send in a demonstration, different every time. Pure.

Owns     the few bytes of PDF (ISO 32000-1, 7.5) that a reader needs; no library, since nothing else here writes PDF
"""


def sample_pdf(title: str, lines: list[str]) -> bytes:
    """A page with a title and some lines; characters outside Latin-1 are replaced."""
    text = ["BT", "/F1 16 Tf 60 760 Td", f"({_escaped(title)}) Tj", "/F1 11 Tf 0 -30 Td 16 TL"]
    text += [f"({_escaped(line)}) Tj T*" for line in lines] + ["ET"]
    stream = "\n".join(text).encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    file, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(file))
    return file + head + table + trailer


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
