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
    """Serves `files`; `drops` cuts a transfer short so many times, `spoilt` sends wrong bytes so many times."""

    def __init__(self):
        self.files, self.drops, self.spoilt, self.requests = {}, {}, {}, []
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
                self.send_response(206 if first else 200)
                self.send_header("Content-Length", str(len(content) - first))
                self.end_headers()
                if not body:
                    return
                rest = content[first:]
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


def test_D1_absent_variables_select_everything(fetch):
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
    assert not (tmp_path / "out").exists()


def test_D1_full_disk_is_told_before_anything_is_fetched(fetch, server, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, used=0, free=10))
    with pytest.raises(UserError, match="entity 6795937 needs"):
        fetch()
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
