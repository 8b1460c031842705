"""The machine-readable note that pictures and videos made here carry: they show no recorded event."""

from pathlib import Path

import av
from PIL import Image

SYNTHETIC_NOTE = "Synthetic: computed by likeness, not a recording of a real event"
"""Human- and machine-readable note; PNG text `Comment`, JPEG and WebP comment or XMP, MP4 metadata `comment`."""

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""The IPTC term for media made by a trained model, which search engines and platforms read."""

XMP = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{SYNTHETIC_NOTE}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
"""The same note as an XMP packet."""

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi"})
"""Suffixes taken for videos, everything else for pictures."""


def is_marked_synthetic(path: str | Path) -> bool:
    """Whether the picture or video at `path` carries the note."""
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        with av.open(str(path)) as container:
            return SYNTHETIC_NOTE in container.metadata.get("comment", "")
    with Image.open(path) as picture:
        notes = [picture.info.get(name, "") for name in ("Comment", "comment", "xmp")]
    return any(SYNTHETIC_NOTE in (note.decode(errors="replace") if isinstance(note, bytes) else note) for note in notes)
