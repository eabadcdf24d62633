"""A trained network on streams: the answers of the offline evaluation, however the events arrive."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from difflogic_tonic.arguments import deploy_parser, parse
from difflogic_tonic.cache.reader import CacheReader
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.deploy.commands import COMMANDS
from difflogic_tonic.deploy.job import open_job
from difflogic_tonic.errors import ConfigError, RecordingError
from difflogic_tonic.netlist.engine import Engine

pytestmark = pytest.mark.integration
SMALL = {"num_neurons": 1300, "num_layers": 2}
RECURRENT = {"architecture": "recurrent", "recurrent": {"state": 40}, "num_neurons": 1240}


@pytest.fixture
def trained(laboratory: Any) -> Any:
    return train(laboratory, SMALL)


def train(laboratory: Any, logic: dict[str, Any]) -> Any:
    laboratory.write_config("DiffLogic", epochs=1)
    laboratory.config["model"]["difflogic"] |= logic
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))
    laboratory.main()
    return laboratory


def places(laboratory: Any) -> StoragePaths:
    return StoragePaths(laboratory.scratch, laboratory.project)


def stream(laboratory: Any, *words: str) -> int:
    arguments = parse(deploy_parser(), ["stream", *words, "--job", "job"])
    return COMMANDS["stream"](arguments, places(laboratory))


def classes_of_lines(printed: str) -> list[int]:
    return [int(found) for found in re.findall(r"^frame \d+  .*  class (\d+) ", printed, re.MULTILINE)]


def recording_of(folder: Path, label: int) -> Path:
    return sorted((folder / "Test" / str(label)).iterdir())[0]


def frames_in_cache(laboratory: Any, path: Path) -> np.ndarray:
    """Those of one test recording, u8[T, bytes]."""
    (manifest,) = (laboratory.project / "data" / "NMNIST").glob("*/manifest.json")
    reader = CacheReader(manifest.parent)
    split, names = reader.split("test"), reader.manifest.recordings.paths
    wanted = f"Test/{path.parent.name}/{path.name}"
    (row,) = [row for row, recording in enumerate(split.recording_ids) if names[recording] == wanted]
    numbers = np.arange(split.offsets[row], split.offsets[row + 1])
    frames = np.empty((len(numbers), split.frame_nbytes), np.uint8)
    split.read_frames(numbers, frames)
    return frames


def offline(laboratory: Any, path: Path) -> tuple[list[int], int]:
    """The class of each frame of a test recording in the cache, and that of the recording."""
    job = open_job("job", "best", places(laboratory))
    scores = Engine(job.circuit.netlist).scores(job.circuit.code.bits(frames_in_cache(laboratory, path)))
    logits = scores / job.circuit.netlist.tau
    chances = np.exp(logits - logits.max(1, keepdims=True))
    vote = (chances / chances.sum(1, keepdims=True)).sum(0).argmax()
    return scores.argmax(1).tolist(), int(vote)


@pytest.mark.parametrize("batch", ["1", "64"])
def test_a_recording_is_classified_as_offline(
    trained: Any, small_recordings: Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    for label in (0, 4, 9):
        path = recording_of(small_recordings, label)
        frames, vote = offline(trained, path)
        capsys.readouterr()
        assert stream(trained, str(path), "--batch", batch) == 0
        printed = capsys.readouterr().out
        assert classes_of_lines(printed) == frames
        assert f"{len(frames)} frames: class {vote} (vote" in printed
        assert "million events/s" in printed


def test_a_file_that_grows_is_followed_to_its_end(
    trained: Any, small_recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording_of(small_recordings, 3)
    data, growing = path.read_bytes(), tmp_path / "growing.bin"
    growing.write_bytes(data[:303])  # within a record

    def write() -> None:
        for start in range(303, len(data), 400):
            time.sleep(0.05)
            with growing.open("ab") as file:
                file.write(data[start : start + 400])

    writer = threading.Thread(target=write)
    frames, _ = offline(trained, path)
    capsys.readouterr()
    writer.start()
    assert stream(trained, str(growing), "--follow", "--idle", "2") == 0
    writer.join()
    assert classes_of_lines(capsys.readouterr().out) == frames


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def send(port: int, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for datagram in datagrams:
            udp.sendto(datagram, ("127.0.0.1", port))
            time.sleep(0.002)


def when_listening(port: int, datagrams: list[bytes]) -> threading.Thread:
    """Send them as soon as somebody listens there."""

    def wait() -> None:
        address = f"{port:04X}"
        while not any(f":{address} " in line for line in Path("/proc/net/udp").read_text().splitlines()):
            time.sleep(0.02)
        send(port, datagrams)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_datagrams_are_put_together_and_lost_ones_counted(
    trained: Any, small_recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording_of(small_recordings, 5)
    data = path.read_bytes()
    parts = [data[start : start + 300] for start in range(0, len(data), 300)]
    first = 2**32 - 2  # the number goes round
    datagrams = [((first + i) % 2**32).to_bytes(4) + part for i, part in enumerate([*parts, b""])]
    frames, _ = offline(trained, path)
    port = free_port()
    capsys.readouterr()
    sender = when_listening(port, datagrams)
    assert stream(trained, f"udp://127.0.0.1:{port}") == 0
    sender.join()
    printed = capsys.readouterr().out
    assert classes_of_lines(printed) == frames
    assert "lost" not in printed
    port = free_port()
    disturbed = [*datagrams[:1], datagrams[2], datagrams[1], *datagrams[4:]]
    sender = when_listening(port, disturbed)
    assert stream(trained, f"udp://127.0.0.1:{port}", "--quiet") == 0
    sender.join()
    printed = capsys.readouterr().out
    assert "2 datagrams lost or late, of which 1 came late" in printed
    assert f"{len(data) // 5 - 120:,} events" in printed


def test_standard_input_ends_with_its_writer(trained: Any, small_recordings: Path, repository: Path) -> None:
    path = recording_of(small_recordings, 7)
    frames, _ = offline(trained, path)
    environment = os.environ | {
        "SCRATCH_STORAGE_DIR": str(trained.scratch),
        "PROJECT_STORAGE_DIR": str(trained.project),
    }
    command = [sys.executable, str(repository / "deploy.py"), "stream", "-", "--job", "job"]
    done = subprocess.run(command, input=path.read_bytes()[:-2], capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    printed = done.stdout.decode()
    assert "standard input: ended within a record; its last 3 bytes are left out" in printed
    assert classes_of_lines(printed)[: len(frames) - 1] == frames[:-1]


@pytest.mark.parametrize("follow", [[], ["--follow", "--idle", "0.3"]])
def test_a_named_pipe_is_read_as_its_writer_fills_it(
    trained: Any, small_recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], follow: list[str]
) -> None:
    path = recording_of(small_recordings, 5)
    data, pipe = path.read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    frames, vote = offline(trained, path)

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for start in range(0, len(data), 303):  # not in records
                file.write(data[start : start + 303])

    writer = threading.Thread(target=write)
    writer.start()
    capsys.readouterr()
    assert stream(trained, str(pipe), *follow) == 0
    writer.join()
    printed = capsys.readouterr().out
    assert classes_of_lines(printed) == frames
    assert f"{len(frames)} frames: class {vote} (vote" in printed


def test_an_animation_shows_every_frame(trained: Any, small_recordings: Path, tmp_path: Path) -> None:
    path = recording_of(small_recordings, 2)
    frames, _ = offline(trained, path)
    assert stream(trained, str(path), "--quiet", "--animation", str(tmp_path / "seen.gif")) == 0
    with Image.open(tmp_path / "seen.gif") as animation:
        assert animation.n_frames == len(frames)
        assert animation.size[0] > animation.size[1] >= 290


def test_a_recurrent_network_keeps_its_state_from_frame_to_frame(
    laboratory: Any, small_recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(laboratory, RECURRENT)
    path = recording_of(small_recordings, 6)
    job = open_job("job", "best", places(laboratory))
    frames = frames_in_cache(laboratory, path)
    scores = Engine(job.circuit.netlist).step_scores(job.circuit.code.bits(frames)[:, None])[:, 0]
    capsys.readouterr()
    assert stream(laboratory, str(path)) == 0
    printed = capsys.readouterr().out
    assert classes_of_lines(printed) == scores.argmax(1).tolist()
    votes = [int(found) for found in re.findall(r"  vote (\d+)  ", printed)]
    assert votes == scores.cumsum(0).argmax(1).tolist()


def test_what_was_seen_before_a_damaged_datagram_is_not_lost(
    trained: Any, small_recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recording_of(small_recordings, 1).read_bytes()
    port = free_port()
    sender = when_listening(port, [bytes(4) + data[:1000], bytes(3) + b"\1" + data[1000:1003]])
    with pytest.raises(RecordingError, match="a datagram of 7 bytes"):
        stream(trained, f"udp://127.0.0.1:{port}", "--quiet", "--animation", str(tmp_path / "seen.gif"))
    sender.join()
    assert "200 events, 1 frames" in capsys.readouterr().out
    assert (tmp_path / "seen.gif").is_file()


def test_what_cannot_be_streamed_is_one_line(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = tmp_path / "nothing.bin"
    with pytest.raises(RecordingError, match=r"no such recording; expected a file, a pipe, - for standard input"):
        stream(trained, str(nothing))
    with pytest.raises(RecordingError, match=r"a folder; expected a file"):
        stream(trained, str(tmp_path))
    with pytest.raises(RecordingError, match=r"/dev/null: no recording; expected a file"):
        stream(trained, "/dev/null")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe is a pipe, which is for ATIS records, not for --format aedat4"):
        stream(trained, str(tmp_path / "pipe"), "--format", "aedat4")
    nothing.write_bytes(b"")
    with pytest.raises(RecordingError, match="empty file"):
        stream(trained, str(nothing))
    with pytest.raises(ConfigError, match=r"expected udp://HOST:PORT"):
        stream(trained, "udp://here")
    with pytest.raises(
        ConfigError, match=r"cannot listen there: .* an address of this machine, e\.g\. udp://0\.0\.0\.0:33"
    ):
        stream(trained, "udp://192.0.2.1:3333")
    with pytest.raises(ConfigError, match=r"--idle ends a stream that may go on"):
        stream(trained, str(nothing), "--idle", "3")
    with pytest.raises(ConfigError, match=r"ends in \.gif or \.mp4"):
        stream(trained, str(nothing), "--animation", "film.avi")
    with pytest.raises(ConfigError, match="no folder"):
        stream(trained, str(nothing), "--animation", str(tmp_path / "missing" / "film.gif"))
    with pytest.raises(ConfigError, match="- is for ATIS records, not for --format aedat4"):
        stream(trained, "-", "--format", "aedat4")
    with pytest.raises(ConfigError, match="--follow is for a file that grows"):
        stream(trained, "udp://127.0.0.1:3333", "--follow")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(RecordingError, match="standard input is closed"):
        stream(trained, "-")
    (tmp_path / "what.xyz").write_bytes(b"12345")
    with pytest.raises(RecordingError, match="give one with --format"):
        stream(trained, str(tmp_path / "what.xyz"))
