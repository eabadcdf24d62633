"""Downloads from a real HTTP server on this machine: resumed, checked, and whole or not at all."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from difflogic_tonic.cache import download as download_module
from difflogic_tonic.cache.download import DownloadFailed, download, download_dataset
from difflogic_tonic.cache.sources import open_source
from difflogic_tonic.config import DATASETS, DownloadFile, StoragePaths
from difflogic_tonic.errors import DatasetMissing
from difflogic_tonic.storage import open_storage

CONTENT = bytes(range(256)) * 40
FACTS = replace(DATASETS["NMNIST"], name="SMALL", classes=("0",), counts={"train": (1,), "test": (1,)})


@dataclass
class Site:
    """What the server offers: path → content, and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)
    """Bytes after which the first, second, ... answer breaks off."""
    status: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of every request."""
    address: str = ""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    offered = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, offered)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    offered.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield offered
    server.shutdown()
    server.server_close()
    thread.join()


def answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    wanted = request.headers.get("Range")
    site.asked.append((request.path, wanted))
    content = site.files.get(request.path)
    if content is None:
        request.send_error(404)
        return
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges else 0
    if start >= len(content) and start:
        request.send_error(416)
        return
    request.send_response(site.status or (206 if start else 200))
    request.send_header("Content-Length", str(len(content) - start))
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    request.end_headers()
    body = content[start:]
    request.wfile.write(body[: site.breaks_after.pop(0)] if site.breaks_after else body)
    request.close_connection = True


def offer(site: Site, *paths: str, content: bytes = CONTENT, size: int | None = len(CONTENT)) -> DownloadFile:
    """A file that is offered at each of the paths, as the table of datasets would state it."""
    urls = tuple(f"{site.address}{path}" for path in paths)
    return DownloadFile(name="Train.zip", urls=urls, md5=hashlib.md5(content).hexdigest(), size=size)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_file_arrives_whole_under_its_name(site: Site, tmp_path: Path, size: int | None):
    site.files = {"/a": CONTENT}
    assert download(offer(site, "/a", size=size), tmp_path) == tmp_path / "Train.zip"
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["Train.zip"]


def test_what_an_earlier_run_left_is_not_fetched_again(site: Site, tmp_path: Path):
    site.files = {"/a": CONTENT}
    (tmp_path / "Train.zip.part").write_bytes(CONTENT[:3000])
    download(offer(site, "/a"), tmp_path)
    assert site.asked == [("/a", "bytes=3000-")]
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT


def test_a_server_that_cannot_resume_sends_it_all_again(site: Site, tmp_path: Path):
    site.files, site.ranges = {"/a": CONTENT}, False
    (tmp_path / "Train.zip.part").write_bytes(CONTENT[:3000])
    download(offer(site, "/a"), tmp_path)
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT
    assert len(site.asked) == 1


def test_a_complete_part_is_only_checked(site: Site, tmp_path: Path):
    (tmp_path / "Train.zip.part").write_bytes(CONTENT)
    download(offer(site, "/a"), tmp_path)
    assert site.asked == []
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT


def test_a_complete_part_of_unstated_size_is_accepted_when_the_server_has_no_more(site: Site, tmp_path: Path):
    site.files = {"/a": CONTENT}
    (tmp_path / "Train.zip.part").write_bytes(CONTENT)
    download(offer(site, "/a", size=None), tmp_path)
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT


def test_the_rest_of_another_file_is_thrown_away_and_fetched_anew(site: Site, tmp_path: Path):
    site.files = {"/a": CONTENT}
    (tmp_path / "Train.zip.part").write_bytes(b"something else")
    download(offer(site, "/a"), tmp_path)
    assert [wanted for _, wanted in site.asked] == ["bytes=14-", None]
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT


def test_an_interrupted_transfer_goes_on_where_it_broke_off(site: Site, tmp_path: Path):
    site.files, site.breaks_after = {"/a": CONTENT}, [1000, 500]
    download(offer(site, "/a"), tmp_path)
    assert [wanted for _, wanted in site.asked] == [None, "bytes=1000-", "bytes=1500-"]
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT


def test_a_server_that_breaks_off_forever_is_given_up_and_the_part_kept(site: Site, tmp_path: Path):
    site.files, site.breaks_after = {"/a": CONTENT}, [1000] + [0] * 50
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1: the connection broke off"):
        download(offer(site, "/a"), tmp_path)
    assert len(site.asked) == 1 + download_module.ATTEMPTS
    assert (tmp_path / "Train.zip.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "Train.zip").exists()


def test_a_wrong_checksum_is_not_accepted_and_the_next_address_is_tried(site: Site, tmp_path: Path):
    site.files = {"/bad": CONTENT[::-1], "/good": CONTENT}
    download(offer(site, "/bad", "/good"), tmp_path)
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT


def test_a_wrong_checksum_everywhere_leaves_nothing(site: Site, tmp_path: Path):
    site.files = {"/bad": CONTENT[::-1]}
    with pytest.raises(DownloadFailed, match=f"has the MD5 .*; expected {hashlib.md5(CONTENT).hexdigest()}"):
        download(offer(site, "/bad"), tmp_path)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_wrong_size_is_refused_before_it_is_fetched(site: Site, tmp_path: Path):
    site.files = {"/short": CONTENT[:100]}
    with pytest.raises(DownloadFailed, match=r"has 100 bytes; expected 10,240"):
        download(offer(site, "/short"), tmp_path)
    assert not (tmp_path / "Train.zip.part").exists()


def test_dead_links_are_passed_over(site: Site, tmp_path: Path):
    site.files = {"/good": CONTENT}
    file = offer(site, "/gone", "/good")
    file = replace(file, urls=("http://127.0.0.1:9/refused", "http://nowhere.invalid/a", *file.urls))
    download(file, tmp_path)
    assert (tmp_path / "Train.zip").read_bytes() == CONTENT


def test_an_empty_answer_to_a_program_is_no_file(site: Site, tmp_path: Path):
    """figshare's old addresses answer 202 with no content to whatever is not a browser."""
    site.files, site.status = {"/a": b""}, 202
    with pytest.raises(DownloadFailed, match="the server answered 202"):
        download(offer(site, "/a"), tmp_path)


def test_a_file_that_is_there_is_left_alone(site: Site, tmp_path: Path):
    (tmp_path / "train.zip").write_bytes(b"mine")
    facts = replace(FACTS, files=(offer(site, "/a"),))
    download_dataset(facts, tmp_path, progress=False)
    assert site.asked == []


def test_offline_says_which_files_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "*")
    files = tuple(
        DownloadFile(name=name, urls=(f"http://127.0.0.1:9/{name}",), md5="0" * 32)
        for name in ("Train.zip", "Test.zip")
    )
    storage = open_storage(StoragePaths(tmp_path / "scratch", tmp_path / "project"))
    with pytest.raises(DatasetMissing) as error:
        open_source(replace(FACTS, files=files), None, storage, False, False)
    message = str(error.value)
    assert (
        "put Train.zip (http://127.0.0.1:9/Train.zip) and Test.zip (http://127.0.0.1:9/Test.zip) "
        f"into {tmp_path}/project/raw/SMALL" in message
    )
    assert "data.data_root=PATH" in message
    assert "\n" not in message


def test_a_downloaded_dataset_is_opened_and_not_downloaded_again(site: Site, tmp_path: Path):
    offered = []
    for split in ("Train", "Test"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as out:
            out.writestr(f"{split}/0/00001.bin", f"12345{split}")
        site.files[f"/{split}"] = archive.getvalue()
        offered.append(
            DownloadFile(f"{split}.zip", (f"{site.address}/{split}",), hashlib.md5(archive.getvalue()).hexdigest())
        )
    facts = replace(FACTS, files=tuple(offered))
    storage = open_storage(StoragePaths(tmp_path / "scratch", tmp_path / "project"))
    for _ in range(2):
        source = open_source(facts, None, storage, False, False)
        assert [source.read(each) for each in source.recordings] == [b"12345Test", b"12345Train"]
    assert len(site.asked) == 2
    (storage.project.raw_dir("SMALL") / "Test.zip").unlink()
    assert len(open_source(facts, None, storage, False, False).recordings) == 2
    assert [path for path, _ in site.asked[2:]] == ["/Test"]  # one of two archives is not the dataset
    assert sorted(path.name for path in storage.project.raw_dir("SMALL").glob("*.zip")) == ["Test.zip", "Train.zip"]
