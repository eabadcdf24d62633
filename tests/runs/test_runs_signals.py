"""Stop signals: a flag, except where nothing needs saving, and except for the second Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from difflogic_tonic.runs.signals import StopNow, StopRequest, stop_on


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)])
def test_a_signal_only_sets_a_flag(name: str, code: int) -> None:
    with stop_on("SIGTERM", "SIGUSR1", "SIGINT") as stop:
        assert not stop
        os.kill(os.getpid(), getattr(signal, name))
        assert stop
        assert (stop.reason, stop.exit_code) == (name, code)


def test_the_first_reason_stays() -> None:
    with stop_on("SIGTERM", "SIGUSR1") as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGUSR1"


def test_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on("SIGTERM"):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_set_up_is_left_at_once() -> None:
    with stop_on("SIGTERM") as stop:
        went_on = False
        with pytest.raises(StopNow), stop.interruptible():  # noqa: PT012
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
            went_on = True
        assert not went_on
        os.kill(os.getpid(), signal.SIGTERM)  # outside, a flag again


def test_set_up_is_not_begun_after_a_stop() -> None:
    stop = StopRequest()
    stop.request("SIGTERM")
    with pytest.raises(StopNow), stop.interruptible():
        pytest.fail("begun")


def test_a_forked_worker_dies_of_sigterm() -> None:
    """A pool that is torn down sends SIGTERM and waits; a worker that only set a flag would hang it."""
    with stop_on("SIGTERM"):
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        time.sleep(0.2)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_a_second_ctrl_c_is_immediate(repository: Path) -> None:
    code = (
        "import sys, time; from difflogic_tonic.runs.signals import listen\n"
        "stop = listen(); print('ready', flush=True)\n"
        "while True: time.sleep(0.1); print(bool(stop), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(repository / "src")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        while process.stdout.readline() != "True\n":
            pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "second Ctrl-C" in errors


def test_listening_needs_neither_torch_nor_numpy(repository: Path) -> None:
    heavy = "{'torch', 'numpy', 'pydantic'}"
    code = f"import sys, difflogic_tonic.runs.signals; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(repository / "src")}).returncode == 0


LEAVING = """
import os, signal
from difflogic_tonic.runs.signals import listen

stop = listen()
with stop.leaving():
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
    except BaseException:
        pass  # what an import may do with an exception
    print("still here")
"""


def test_where_a_stop_ends_the_process_nothing_can_swallow_it(repository: Path) -> None:
    environment = {"PYTHONPATH": str(repository / "src")}
    ended = subprocess.run(
        [sys.executable, "-c", LEAVING], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 75
    assert ended.stderr == "stopped by SIGUSR1 before the first step\n"
    assert ended.stdout == ""


HALF_IMPORTED = """
import os, signal

class Descriptor:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGUSR1)  # Python before 3.12 makes a RuntimeError of what is raised here

class Model:
    field = Descriptor()
"""

IMPORTING = """
from difflogic_tonic.runs.signals import StopNow, listen

stop = listen()
try:
    with stop.interruptible():
        import half_imported
except StopNow:
    print("went on with half a module")
"""


def test_set_up_that_imports_is_left_without_an_exception(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "half_imported.py").write_text(HALF_IMPORTED)
    environment = {"PYTHONPATH": f"{repository / 'src'}{os.pathsep}{tmp_path}"}
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTING], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 75
    assert ended.stderr == (
        "stopped by SIGUSR1 while modules were loaded; the same command goes on where this one was\n"
    )
    assert ended.stdout == ""
