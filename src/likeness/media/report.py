"""The HTML page of a run: sections with text, measured figures, pictures and videos, readable without a network."""

import html
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from likeness.errors import UserError
from likeness.files import atomic_path, write_text
from likeness.media.synthetic import VIDEO_SUFFIXES

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem; }
nav a { margin-right: 1rem; }
figure { margin: 1rem 0; } img, video { max-width: 100%; min-width: min(100%, 16rem); height: auto; }
iframe { border: 0; width: 100%; height: 26rem; } figcaption { font-size: .9rem; opacity: .8; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; font-weight: normal; }
tr + tr { border-top: 1px solid #8884; } td { font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    title: str
    text: str = ""
    """Plain text; an empty line separates paragraphs."""
    figures: Sequence[tuple[str | Path, str]] = field(default_factory=list)
    """(path, caption) of PNG, JPEG, WebP, GIF or MP4 files, or of an HTML page that is shown in a frame."""
    rows: Sequence[tuple[str, object]] = field(default_factory=list)
    """(name, value) of measured figures; floats are shown with four digits."""


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page to `path` (an .html file), with relative links to its figures.

    Figures that lie outside the page's folder are copied to `figures/` beside it, so that the folder can be moved or
    sent as a whole.

    Raises:
        UserError: a figure is missing.
    """
    path = Path(path)
    links = "".join(f'<a href="#s{i}">{html.escape(s.title)}</a>' for i, s in enumerate(sections))
    body = "".join(_section(section, index, path.parent) for index, section in enumerate(sections))
    name = html.escape(title)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{name}</h1>\n<nav>{links}</nav>\n{body}</body></html>\n",
    )


def _section(section: Section, index: int, folder: Path) -> str:
    parts = [f'<section id="s{index}"><h2>{html.escape(section.title)}</h2>']
    parts += [f"<p>{html.escape(p.strip())}</p>" for p in section.text.split("\n\n") if p.strip()]
    if section.rows:
        cells = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(_shown(v))}</td></tr>" for n, v in section.rows)
        parts.append(f"<table>{cells}</table>")
    parts += [_figure(Path(figure), caption, index, folder) for figure, caption in section.figures]
    return "\n".join(parts) + "</section>\n"


def _figure(path: Path, caption: str, index: int, folder: Path) -> str:
    if not path.is_file():
        raise UserError("no such figure for the page", path=path)
    relative = Path(os.path.relpath(path.resolve(), folder.resolve()))
    if relative.parts[0] == "..":
        relative = Path("figures") / f"{index}_{path.name}"
        with atomic_path(folder / relative) as temporary:
            shutil.copyfile(path, temporary)
    link, alt = quote(relative.as_posix()), html.escape(caption, quote=True)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        shown = f'<video src="{link}" controls loop muted playsinline preload="metadata" title="{alt}"></video>'
    elif path.suffix.lower() == ".html":
        shown = f'<iframe src="{link}" title="{alt}"></iframe>'
    else:
        shown = f'<img src="{link}" alt="{alt}">'
    return f"<figure>{shown}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
