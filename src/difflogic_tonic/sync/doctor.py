"""`check_and_sync_data.sh doctor`: is this machine fit for a run? Needs nothing but Python, for nothing may work yet.

Every check is a function that returns findings. One that hangs, as on a network file system whose server is down, is
said to hang and the others go on; that one bound holds for all of them together.
"""

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from difflogic_tonic.sync.doctor_machine import (
    check_compiler,
    check_container,
    check_environment,
    check_gpu,
    check_python,
    check_slurm,
)
from difflogic_tonic.sync.doctor_storage import check_place, check_places
from difflogic_tonic.sync.finding import Finding

CHECK_SECONDS = 30.0
"""How long the checks, which begin together, may take before those without an answer are said to hang."""

MARKS = {"ok": "ok", "note": "note", "warning": "WARN", "failure": "FAIL"}

Check = Callable[[], list[Finding]]


def run(variables: Mapping[str, str], root: Path, as_json: bool = False) -> int:
    """Print a table, or JSON, and return the exit code: 1 if something fails, else 0.

    `variables` is the environment, `root` the checkout.
    """
    findings = list(examine(checks(variables, root)))
    code = 1 if any(finding.status == "failure" for finding in findings) else 0
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings], "exit_code": code}, indent=2))
        return code
    for line in table(findings):
        print(line)
    failures, warnings = (sum(each.status == status for each in findings) for status in ("failure", "warning"))
    print(f"\n{failures} failures, {warnings} warnings" if failures or warnings else "\nall is well")
    sys.stdout.flush()
    return code


def checks(variables: Mapping[str, str], root: Path) -> dict[str, Check]:
    """What there is to look at. `root` is the checkout."""
    scratch, project = places(variables, root)
    found: dict[str, Check] = {"storage": lambda: check_places(variables, scratch, project)}
    found |= {"scratch storage": lambda: check_place("scratch", scratch)}
    if project != scratch:
        found |= {"project storage": lambda: check_place("project", project)}
    return found | {
        "Python": check_python,
        "environment": lambda: check_environment(root, variables),
        "container": lambda: check_container(variables),
        "GPU": lambda: check_gpu(root, variables),
        "SLURM": lambda: check_slurm(variables),
        "compiler": check_compiler,
    }


def places(variables: Mapping[str, str], root: Path) -> tuple[Path, Path]:
    """Scratch and project storage, as `config.environment_storage` has them, which needs more than Python."""
    named = [variables.get(f"{name}_STORAGE_DIR", "").strip() for name in ("SCRATCH", "PROJECT")]
    fallback = next((text for text in reversed(named) if text), str(root / "storage"))
    scratch, project = (Path(os.path.expanduser(text or fallback)) for text in named)  # what it does not know stays
    return scratch, project


def examine(checks: Mapping[str, Check], seconds: float = CHECK_SECONDS) -> Iterator[Finding]:
    """The findings of all checks, which run side by side, in their order."""
    end = time.monotonic() + seconds
    answers: dict[str, queue.SimpleQueue[list[Finding] | Exception]] = {}
    for name, check in checks.items():
        answers[name] = queue.SimpleQueue()
        threading.Thread(target=_answer, args=(check, answers[name]), daemon=True).start()
    for name, answer in answers.items():
        try:
            found = answer.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            yield Finding(name, "failure", f"does not answer in {seconds:.0f} s", "ask whoever runs this machine")
            continue
        if isinstance(found, OSError):  # as of a network file system whose server has gone
            yield Finding(name, "failure", str(found), "mend it, or ask whoever runs this machine")
            continue
        if isinstance(found, Exception):
            raise found
        yield from found


def _answer(check: Check, to: "queue.SimpleQueue[list[Finding] | Exception]") -> None:
    try:
        to.put(check())
    except Exception as error:  # noqa: BLE001 (raised by whoever asked)
        to.put(error)


def table(findings: list[Finding]) -> list[str]:
    """A row for each finding, and under one that is not well what to do."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.status]:4}  {finding.name:{width}}  {finding.text}")
        if finding.fix:
            lines.append(f"{'':{width + 6}}  → {finding.fix}")
    return lines
