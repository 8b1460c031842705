"""Fetching the data set: what to fetch is planned and shown first; every file is checked before it is unpacked."""

import hashlib
import http.client
import json
import re
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import urljoin

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from likeness.errors import UserError
from likeness.files import require_free_space, write_text

ROOT = "https://fb-baas-f32eacb9-8abb-11eb-b2b8-4857dd089e15.s3.amazonaws.com/MugsyDataRelease/v0.0/identities"
SIZES = {
    "002645310": (7.8, 45, 2400), "002643814": (1.6, 21, 412), "002539136": (1.5, 20, 381), "7889059": (1.8, 29, 493),
    "002757580": (1.4, 21, 380), "2183941": (2.1, 32, 577), "5372021": (2.0, 27, 513), "8870559": (2.4, 32, 611),
    "6674443": (1.7, 26, 429), "5067077": (11, 49, 3100), "002914589": (1.1, 21, 367), "6795937": (1.9, 27, 521),
    "002421669": (13, 51, 3100),
}  # fmt: skip
"""Entity -> images in TB, meshes in GB, textures in GB, as its authors state them."""
ATTEMPTS = 50
BLOCK = 1 << 20
_KINDS = {
    "unwrapped_uv": "texture",
    "tracked_mesh": "mesh",
    "images": "image",
    "audio": "audio",
    "metadata": "metadata",
}
_NETWORK = (OSError, http.client.HTTPException, urllib.error.URLError)


class Selection(msgspec.Struct, frozen=True):
    """What a download configuration selects; a variable that is absent selects everything."""

    entity: tuple[str, ...] = tuple(SIZES)
    image: bool = True
    mesh: bool = True
    texture: bool = True
    metadata: bool = True
    audio: bool = True
    expression: tuple[str, ...] | None = None

    def takes(self, name: str) -> bool:
        """Whether the archive `name` is fetched; an expression matches as a part of the name."""
        for prefix, kind in _KINDS.items():
            if name.startswith(prefix) and not getattr(self, kind):
                return False
        if name in ("CHECKSUM", "index.html") or name.startswith(("audio", "metadata")):
            return True
        return self.expression is None or any(part in name for part in self.expression)


@dataclass(frozen=True)
class Item:
    """One file to fetch: its address, its name, its size in bytes where the server says it."""

    url: str
    name: str
    size: int | None


def read_selection(path: str | Path) -> Selection:
    """A download configuration: `mini`, `full`, or a JSON file with any of the seven variables.

    Raises:
        UserError: it is no such file, or a variable is unknown or of another type.
    """
    name = str(path)
    shipped = files("likeness.methods.multiface") / f"download_{name}.json"
    try:
        raw = shipped.read_bytes() if name in ("mini", "full") else Path(path).read_bytes()
        document = json.loads(raw)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror}): give `mini`, `full` or a JSON file", path=path) from None
    except ValueError as error:
        raise UserError(f"is no JSON ({error})", path=path) from None
    unknown = set(document) - set(Selection.__struct_fields__) if isinstance(document, dict) else {"(no object)"}
    if unknown:
        raise UserError(
            f"unknown {', '.join(sorted(unknown))}: the variables are {', '.join(Selection.__struct_fields__)}",
            path=path,
        )
    try:
        return msgspec.convert(document, Selection)
    except msgspec.ValidationError as error:
        raise UserError(f"{error}", path=path) from None


def download(
    dest: Path = Path("."),
    download_config: str = "mini",
    root: str = ROOT,
    links: Path | None = None,
    dry_run: bool = False,
    sizes: bool = False,
    retry_wait: float = 2.0,
) -> None:
    """Fetch entities one after the other: every archive is resumed, checked, unpacked and removed.

    Args:
        dest: folder in which the entities' folders are made.
        download_config: `mini`, `full`, or a JSON file with any of entity, image, mesh, texture, metadata, audio,
            expression; what is absent selects everything.
        root: address under which `<entity>/` lies.
        links: folder of `<anything><entity>--GHS.links` files (one address a line) to use instead of index pages.
        dry_run: print the plan and the stated sizes, fetch nothing.
        sizes: ask the server for the exact size of every file of the plan first.
        retry_wait: seconds between attempts, doubled up to a minute.
    """
    selection = read_selection(download_config)
    print(stated_sizes(selection))
    failed: list[str] = []
    for entity in selection.entity:
        items = plan(entity, selection, root, links, ask_sizes=sizes or not dry_run)
        known = sum(item.size or 0 for item in items)
        unsized = sum(item.size is None for item in items)
        if dry_run and not sizes:
            print(f"{entity}: {len(items)} files; --sizes asks the server how large each is")
        else:
            print(f"{entity}: {len(items)} files, {_gigabytes(known, unsized)}")
        if dry_run:
            for item in items:
                print(f"  {item.name}" + ("" if item.size is None else f"  {item.size / 1e6:.1f} MB"))
        # Archives go one by one once unpacked: what stays is their content, beside the largest of them.
        needed = known + max((item.size or 0 for item in items), default=0)
        if needed:
            print(f"{entity}: needs {_gigabytes(needed, unsized)} on the disk of {dest}; archives go once unpacked")
        if dry_run:
            continue
        require_free_space(dest, needed, f"entity {entity}")
        failed += fetch_entity(entity, items, dest, retry_wait)
    if failed:
        raise UserError(
            f"{len(failed)} files did not arrive whole: {', '.join(failed[:10])}; run the same command again"
        )


def _gigabytes(known: int, unsized: int) -> str:
    return f"{known / 1e9:.3f} GB" + (f" and {unsized} files of unknown size" if unsized else "")


def stated_sizes(selection: Selection) -> str:
    """The authors' sizes of the selected entities as a table, with their sum."""
    kinds = (("image", 1000.0), ("mesh", 1.0), ("texture", 1.0))
    lines = [
        "entity        images TB    meshes GB  textures GB   (whole entities, as stated by the data set's authors)"
    ]
    total = 0.0
    for entity in selection.entity:
        row = SIZES.get(entity)
        if row is None:
            lines.append(f"{entity:12s}      (no size stated)")
            continue
        total += sum(size * scale for size, (kind, scale) in zip(row, kinds) if getattr(selection, kind))
        lines.append(f"{entity:12s} {row[0]:10.1f} {row[1]:12.0f} {row[2]:12.0f}")
    if selection.expression is None:
        lines.append(f"selected kinds of all expressions: {total / 1000:.1f} TB; about twice as much while unpacking")
    return "\n".join(lines)


def plan(entity: str, selection: Selection, root: str, links: Path | None, *, ask_sizes: bool) -> list[Item]:
    """The files of one entity that `selection` takes, CHECKSUM first, from its `.links` file or its index page.

    Raises:
        UserError: neither can be read, or nothing is selected.
    """
    urls = _links(entity, links) or _index_page(f"{root.rstrip('/')}/{entity}/")
    names = {url.rsplit("/", 1)[-1]: url for url in urls}
    names = {name: url for name, url in names.items() if name and selection.takes(name) and name != "index.html"}
    bad = [name for name in names if not re.fullmatch(r"[\w.-]+", name) or name.startswith(".")]
    if bad:
        raise UserError(f"the list of entity {entity} holds names that are no plain file names: {bad[:3]}")
    if not any(name.endswith(".tar") for name in names):
        raise UserError(f"nothing of entity {entity} is selected: {len(urls)} files are listed, see `expression`")
    if "CHECKSUM" not in names:
        raise UserError(f"entity {entity} lists no CHECKSUM: files could not be verified")
    ordered = sorted(names, key=lambda name: (name != "CHECKSUM", name))
    return [Item(names[name], name, _remote_size(names[name]) if ask_sizes else None) for name in ordered]


def fetch_entity(entity: str, items: Sequence[Item], dest: Path, retry_wait: float) -> list[str]:
    """Fetch, verify, unpack and remove the archives of one entity; returns the names that failed."""
    markers = dest / f".{entity}.download"
    checksum_file = dest / f"{entity}CHECKSUM"
    failed = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bars = _Bars(progress, entity, items)
        checksum_file.unlink(missing_ok=True)
        _fetch(items[0], checksum_file, retry_wait, bars)
        digests = read_checksums(checksum_file)
        bars.finish(items[0])
        for item in items[1:]:
            done = markers / f"{item.name}.unzip"
            archive = dest / f"{entity}{item.name}"
            try:
                if not done.is_file():
                    _fetch_verified(item, archive, digests, retry_wait, bars)
                    if item.name.endswith(".tar"):
                        extract(archive, dest)
                        archive.unlink()
                    write_text(done, "")
            except UserError as error:
                progress.console.print(f"[red]{item.name}[/]: {error}")
                failed.append(f"{entity}/{item.name}")
            bars.finish(item)
    return failed


def read_checksums(path: Path) -> dict[str, str]:
    """File name -> md5 of a CHECKSUM file; both orders of its two columns are read."""
    digests = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split()
        for index, field in enumerate(fields):
            if re.fullmatch(r"[0-9a-fA-F]{32}", field):
                rest = [part for place, part in enumerate(fields) if place != index]
                if rest:
                    digests[rest[-1].lstrip("*").rsplit("/", 1)[-1]] = field.lower()
                break
    if not digests:
        raise UserError("holds no md5 sums: the download cannot be verified", path=path)
    return digests


def extract(archive: Path, dest: Path) -> None:
    """Unpack `archive` under `dest`; members that would leave it, links out of it and devices are refused.

    Raises:
        UserError: a member is refused, or the archive is damaged; nothing of a refused archive is unpacked.
    """
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                tarfile.data_filter(member, str(dest))
            require_free_space(dest, sum(member.size for member in members), f"unpacking {archive.name}")
            tar.extractall(dest, members=members, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"is refused, it would write outside of its folder ({error})", path=archive) from None
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"is no whole archive ({error})", path=archive) from None


class _Bars:
    """A bar of the file at hand above one of all files of an entity."""

    def __init__(self, progress: Progress, entity: str, items: Sequence[Item]):
        self.progress, self.finished = progress, 0
        self.all = progress.add_task(f"{entity} in all", total=sum(item.size or 0 for item in items) or None)
        self.file = progress.add_task("", visible=False)

    def show(self, item: Item, have: int, whole: int | None) -> None:
        """`have` of `whole` bytes of `item` are there."""
        self.progress.update(self.file, description=item.name, completed=have, total=whole or item.size, visible=True)
        self.progress.update(self.all, completed=self.finished + have)

    def finish(self, item: Item) -> None:
        """Nothing more is to be done for `item`."""
        self.finished += item.size or 0
        self.progress.update(self.file, visible=False)
        self.progress.update(self.all, completed=self.finished)


def _fetch_verified(item: Item, archive: Path, digests: dict[str, str], wait: float, bars: _Bars) -> None:
    expected = digests.get(item.name)
    if expected is None:
        raise UserError(f"CHECKSUM does not name {item.name}: it cannot be verified and is left out")
    for fresh in (False, True):
        if fresh:
            bars.progress.console.print(f"{item.name}: wrong checksum, fetching it once more from the start")
            archive.unlink(missing_ok=True)
        _fetch(item, archive, wait, bars)
        if _md5(archive) == expected:
            return
    archive.unlink(missing_ok=True)
    raise UserError(f"{item.name} has another md5 than CHECKSUM says ({expected}), twice: it is left out")


def _fetch(item: Item, path: Path, wait: float, bars: _Bars) -> None:
    """Fetch to `path`, going on at the byte where an earlier attempt broke off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    if path.exists():
        return
    pause = wait
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
            pause = min(2 * pause, 60.0)
        try:
            _continue(item, partial, bars)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                # What is there is longer than the file: it belongs to another one.
                partial.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise UserError(f"{item.url}: the server answers {error.code} {error.reason}") from None
            reason = f"{error.code} {error.reason}"
            continue
        except _NETWORK as error:
            reason = str(error) or type(error).__name__
            continue
        partial.replace(path)
        return
    raise UserError(f"{item.url}: gave up after {ATTEMPTS} attempts ({reason}); run the same command again later")


def _continue(item: Item, partial: Path, bars: _Bars) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(item.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        # A server may answer with the whole file, or with another part than was asked for.
        told = answer.headers.get("Content-Range", f"bytes {have}-")
        resumed = have > 0 and answer.status == 206 and told.startswith(f"bytes {have}-")
        if answer.status == 206 and not resumed:
            partial.unlink(missing_ok=True)
            raise ConnectionError(f"answered {told} instead of the bytes from {have} on")
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        whole = None if length is None else have + int(length)
        bars.show(item, have, whole)
        with open(partial, "ab" if resumed else "wb") as out:
            while block := answer.read(BLOCK):
                out.write(block)
                have += len(block)
                bars.show(item, have, whole)
    if whole is not None and have < whole:
        raise ConnectionError(f"broke off at {have} of {whole} bytes")


def _md5(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


class _Anchors(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _index_page(address: str) -> list[str]:
    for candidate in (urljoin(address, "index.html"), address):
        try:
            with urllib.request.urlopen(candidate, timeout=60) as answer:
                parser = _Anchors()
                parser.feed(answer.read().decode("utf-8", "replace"))
        except _NETWORK as error:
            reason = str(error)
            continue
        return [urljoin(address, link) for link in parser.found]
    raise UserError(f"{address}: the list of files cannot be read ({reason}); give --links a folder of .links files")


def _links(entity: str, folder: Path | None) -> list[str]:
    if folder is None:
        return []
    matches = sorted(folder.glob(f"*{entity}*.links"))
    if not matches:
        print(f"no .links file of entity {entity} in {folder}: its index page is asked")
        return []
    return [line.strip() for line in matches[0].read_text(encoding="utf-8").splitlines() if line.strip()]


def _remote_size(url: str) -> int | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
            length = answer.headers.get("Content-Length")
            return None if length is None else int(length)
    except _NETWORK:
        return None
