"""Row D1: the downloader against a local server that behaves badly."""

import hashlib
import http.server
import io
import json
import tarfile
import threading

import pytest

from likeness.errors import UserError
from likeness.methods.multiface import download as dl

FOLDER = "m--20180227--0000--6795937--GHS"


def archive(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class Server:
    """Serves `files`; `drops` cuts a transfer short so many times, `spoilt` sends wrong bytes so many times.

    `misled` answers a resumed transfer so many times with another part than was asked for, `lengths` states a wrong
    length and sends (at most) so many bytes.
    """

    def __init__(self):
        self.files, self.drops, self.spoilt, self.misled, self.lengths = {}, {}, {}, {}, {}
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *unused):
                pass

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body):
                name = self.path.rsplit("/", 1)[-1]
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                first = 0
                if body:
                    outer.requests.append((name, self.headers.get("Range")))
                    if outer.spoilt.get(name, 0) > 0:
                        outer.spoilt[name] -= 1
                        content = b"x" * len(content)
                    if self.headers.get("Range"):
                        first = int(self.headers["Range"][6:-1])
                if first >= len(content) > 0:
                    self.send_error(416)
                    return
                rest = content[first:]
                self.send_response(206 if first else 200)
                if first and outer.misled.get(name, 0) > 0:
                    outer.misled[name] -= 1
                    rest = content[7:]
                    self.send_header("Content-Range", f"bytes 7-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(outer.lengths.get(name, len(rest))))
                self.end_headers()
                if not body:
                    return
                rest = rest[: outer.lengths.get(name, len(rest))]
                if outer.drops.get(name, 0) > 0:
                    outer.drops[name] -= 1
                    rest = rest[: len(rest) // 2]
                self.wfile.write(rest)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def publish(self):
        """Write CHECKSUM and the index page for what is served."""
        digests = {name: hashlib.md5(content).hexdigest() for name, content in self.files.items()}
        self.files["CHECKSUM"] = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
        anchors = "".join(f'<a href="{name}">{name}</a>' for name in self.files)
        self.files["index.html"] = f"<html>{anchors}</html>".encode()


@pytest.fixture
def server():
    made = Server()
    for kind in ("images", "unwrapped_uv_1024", "tracked_mesh"):
        for segment in ("E057_Cheeks_Puffed", "E001_Neutral"):
            content = {f"{FOLDER}/{kind}/{segment}/000001.bin": kind.encode() * 50000}
            made.files[f"{kind}--{segment}.tar"] = archive(content)
    made.files["metadata.tar"] = archive({f"{FOLDER}/KRT": b"krt"})
    made.files["audio.tar"] = archive({f"{FOLDER}/audio/SEN.wav": b"wav"})
    made.publish()
    yield made
    made.http.shutdown()


@pytest.fixture
def fetch(server, tmp_path):
    def run(links=None, **variables):
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"entity": ["6795937"], **variables}))
        dl.download(tmp_path / "out", str(config), root=server.root, links=links, retry_wait=0.001)
        return tmp_path / "out"

    return run


def test_D1_selection_extraction_and_deletion(fetch, server):
    out = fetch(expression=["E057"], texture=False)
    assert (out / FOLDER / "images/E057_Cheeks_Puffed/000001.bin").is_file()
    assert (out / FOLDER / "tracked_mesh/E057_Cheeks_Puffed/000001.bin").is_file()
    assert (out / FOLDER / "KRT").is_file()
    assert (out / FOLDER / "audio/SEN.wav").is_file()
    assert not (out / FOLDER / "unwrapped_uv_1024").exists()
    assert not (out / FOLDER / "images/E001_Neutral").exists()
    assert not list(out.glob("*.tar")) + list(out.glob("*.part"))


def test_D1_absent_variables_select_everything(fetch, tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    selection = dl.read_selection(empty)
    assert len(selection.entity) == 13
    assert selection.expression is None
    assert all((selection.image, selection.mesh, selection.texture, selection.metadata, selection.audio))
    out = fetch()
    assert len(list((out / FOLDER).rglob("*.bin"))) == 6


def test_D1_a_dropped_connection_goes_on_at_its_byte(fetch, server):
    name = "images--E057_Cheeks_Puffed.tar"
    server.drops[name] = 2
    out = fetch(expression=["E057"])
    size = len(server.files[name])
    ranges = [asked for served, asked in server.requests if served == name]
    assert ranges == [None, f"bytes={size // 2}-", f"bytes={size // 2 + (size - size // 2) // 2}-"]
    assert (out / FOLDER / "images/E057_Cheeks_Puffed/000001.bin").read_bytes() == b"images" * 50000


def test_D1_wrong_bytes_are_fetched_once_more(fetch, server):
    name = "images--E057_Cheeks_Puffed.tar"
    server.spoilt[name] = 1
    out = fetch(expression=["E057"])
    assert [served for served, _ in server.requests].count(name) == 2
    assert (out / FOLDER / "images/E057_Cheeks_Puffed/000001.bin").is_file()


def test_D1_wrong_bytes_twice_are_left_out_and_told(fetch, server):
    name = "images--E057_Cheeks_Puffed.tar"
    server.spoilt[name] = 5
    with pytest.raises(UserError, match="1 files did not arrive whole: 6795937/images--E057"):
        fetch(expression=["E057"])
    assert [served for served, _ in server.requests].count(name) == 2


def test_D1_a_length_that_is_too_short_is_noticed_by_the_checksum(fetch, server, tmp_path):
    name = "images--E057_Cheeks_Puffed.tar"
    server.lengths[name] = 20000
    with pytest.raises(UserError, match="1 files did not arrive whole"):
        fetch(expression=["E057"])
    assert [served for served, _ in server.requests].count(name) == 2
    assert not (tmp_path / "out" / FOLDER / "images").exists()
    assert not list((tmp_path / "out").glob("*.tar"))


def test_D1_a_length_that_is_too_long_is_given_up_at_last(fetch, server, tmp_path, monkeypatch):
    monkeypatch.setattr(dl, "ATTEMPTS", 3)
    name = "images--E057_Cheeks_Puffed.tar"
    server.lengths[name] = len(server.files[name]) + 999
    with pytest.raises(UserError, match="1 files did not arrive whole"):
        fetch(expression=["E057"])
    assert (tmp_path / "out" / FOLDER / "tracked_mesh").is_dir()
    del server.lengths[name]
    fetch(expression=["E057"])
    assert (tmp_path / "out" / FOLDER / "images/E057_Cheeks_Puffed/000001.bin").is_file()


def test_D1_another_part_than_was_asked_for_is_not_appended(fetch, server):
    name = "images--E057_Cheeks_Puffed.tar"
    server.drops[name], server.misled[name] = 1, 1
    out = fetch(expression=["E057"])
    assert [asked for served, asked in server.requests if served == name][2] is None
    assert (out / FOLDER / "images/E057_Cheeks_Puffed/000001.bin").read_bytes() == b"images" * 50000


def test_D1_checked_before_it_is_unpacked(fetch, server, monkeypatch):
    server.spoilt["metadata.tar"] = 1
    unpacked = []

    def extract(archive, dest):
        unpacked.append((archive.name, hashlib.md5(archive.read_bytes()).hexdigest()))

    monkeypatch.setattr(dl, "extract", extract)
    fetch(expression=["E057"])
    digests = {name: hashlib.md5(content).hexdigest() for name, content in server.files.items()}
    assert sorted(unpacked) == sorted((f"6795937{name}", digests[name]) for name in dl_names(server))


def dl_names(server):
    return [name for name in server.files if name.endswith(".tar") and "E001" not in name]


def test_D1_entity_by_entity(server, tmp_path):
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"entity": ["6795937", "8870559"], "expression": ["E057"]}))
    dl.download(tmp_path / "out", str(config), root=server.root, retry_wait=0.001)
    order = [name for name, _ in server.requests]
    first, second = (index for index, name in enumerate(order) if name == "index.html")
    assert sorted(order[first:second]) == sorted(order[second:])
    assert not list((tmp_path / "out").glob("*.tar"))


def test_D1_progress_of_each_file_and_of_all(fetch, server, monkeypatch):
    server.drops["images--E057_Cheeks_Puffed.tar"] = 1
    server.spoilt["metadata.tar"] = 1
    seen, made = {}, []

    class Watched(dl.Progress):
        def __init__(self, *columns):
            super().__init__(*columns)
            made.append(self)

        def update(self, task_id, **values):
            super().update(task_id, **values)
            task = self.tasks[task_id]
            seen.setdefault(task.description, []).append((task.completed, task.total))

    monkeypatch.setattr(dl, "Progress", Watched)
    fetch(expression=["E057"])
    sizes = {name: len(server.files[name]) for name in [*dl_names(server), "CHECKSUM"]}
    for name, size in sizes.items():
        assert seen[name][-1] == (size, size)
    whole = seen["6795937 in all"]
    assert whole[-1] == (sum(sizes.values()), sum(sizes.values()))
    assert all(done <= total for done, total in whole)


def test_D1_a_tar_that_leaves_its_folder_is_refused(fetch, server, tmp_path):
    server.files["images--E057_Cheeks_Puffed.tar"] = archive({"fine.txt": b"x", "../../evil.txt": b"evil"})
    server.publish()
    with pytest.raises(UserError, match="did not arrive whole"):
        fetch(expression=["E057"])
    assert not list(tmp_path.rglob("evil.txt"))
    assert not (tmp_path / "out" / "fine.txt").exists()
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    (tmp_path / "link.tar").write_bytes(link.getvalue())
    with pytest.raises(UserError, match="refused"):
        dl.extract(tmp_path / "link.tar", tmp_path)


def test_D1_what_is_done_is_not_fetched_again(fetch, server):
    fetch(expression=["E057"])
    server.requests.clear()
    fetch(expression=["E057"])
    assert {name for name, _ in server.requests} == {"index.html", "CHECKSUM"}


def test_D1_a_partial_file_longer_than_the_real_one_starts_over(fetch, server, tmp_path):
    name = "metadata.tar"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"6795937{name}.part").write_bytes(b"z" * (len(server.files[name]) + 5))
    out = fetch(expression=["E057"])
    assert (out / FOLDER / "KRT").is_file()


def test_D1_links_replace_the_index_page(fetch, server, tmp_path):
    del server.files["index.html"]
    folder = tmp_path / "links"
    folder.mkdir()
    lines = "".join(f" {server.root}/6795937/{name}\n" for name in server.files)
    (folder / f"{FOLDER}.links").write_text(lines)
    out = fetch(links=folder, expression=["E057"])
    assert (out / FOLDER / "KRT").is_file()


def test_D1_real_links_and_configurations_select_as_the_original(data_dir):
    lines = (data_dir / "multiface" / f"{FOLDER}.links").read_text().split()
    names = [line.rsplit("/", 1)[-1] for line in lines]
    mini = dl.read_selection("mini")
    assert mini == dl.read_selection(data_dir / "multiface" / "mini_download_config.json")
    taken = [name for name in names if mini.takes(name) and name.endswith(".tar")]
    assert {name.split("--")[1].split(".")[0].split("_cam")[0] for name in taken if "--" in name} == {
        "E057_Cheeks_Puffed", "E061_Lips_Puffed",
    }  # fmt: skip
    full = dl.read_selection("full")
    assert all(full.takes(name) for name in names)
    assert set(full.entity) == set(dl.read_selection(data_dir / "multiface" / "download_config.json").entity)


def test_D1_dry_run_prints_plan_and_stated_sizes(server, tmp_path, capsys):
    dl.download(tmp_path / "out", "mini", root=server.root, dry_run=True)
    printed = capsys.readouterr().out
    assert "6795937             1.9           27          521" in printed
    assert "images--E057_Cheeks_Puffed.tar" in printed
    assert "6795937: 6 files; --sizes asks the server how large each is" in printed
    dl.download(tmp_path / "out", "mini", root=server.root, dry_run=True, sizes=True)
    sized = capsys.readouterr().out
    assert "6795937: needs 0.00" in sized
    assert (
        f"images--E057_Cheeks_Puffed.tar  {len(server.files['images--E057_Cheeks_Puffed.tar']) / 1e6:.1f} MB" in sized
    )
    assert not (tmp_path / "out").exists()


def test_D1_full_disk_is_told_before_anything_is_fetched(fetch, server, monkeypatch, capsys):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, used=0, free=10))
    with pytest.raises(UserError, match="entity 6795937 needs"):
        fetch()
    assert "6795937: needs 0.00" in capsys.readouterr().out
    assert not [name for name, _ in server.requests if name.endswith(".tar")]


def test_D1_mistakes_in_the_configuration(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"entities": []}')
    with pytest.raises(UserError, match="unknown entities"):
        dl.read_selection(path)
    path.write_text('{"image": "yes"}')
    with pytest.raises(UserError, match="Expected `bool`"):
        dl.read_selection(path)
    with pytest.raises(UserError, match="cannot be read"):
        dl.read_selection(tmp_path / "none.json")
