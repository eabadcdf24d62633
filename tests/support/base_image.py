"""A small root file system from the Debian packages of this machine, as a local base for building the container.

It stands in for the registry's base image: Debian with Python, pip and apt, without a compiler. Packages are copied
file by file as dpkg lists them, with dpkg's own records, so that apt works inside.
"""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

NEEDED = ("python3", "python3-venv", "apt", "ca-certificates")
SETTINGS = ("alternatives", "apt", "ca-certificates", "ca-certificates.conf", "ssl/certs")
UNREAD = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/")
MERGED = ("bin", "sbin", "lib", "lib64")
DPKG = Path("/var/lib/dpkg")


def make_base_image(folder: Path) -> None:
    """Fill the empty `folder`. Raises `LookupError` if a package that is needed is not installed."""
    chosen = _closure(_installed())
    for name in ("dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var/tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in MERGED:
        if Path("/", name).is_symlink():
            (folder / "usr" / name).mkdir(parents=True)
            (folder / name).symlink_to(Path("/", name).readlink())
    lists = [path for name in chosen for path in _records(name) if path.suffix == ".list"]
    wanted = sorted({line for path in lists for line in path.read_text().splitlines() if line not in ("", "/.")})
    wanted = [line for line in wanted if not line.startswith(UNREAD)]
    _copy(folder, wanted)
    _copy(folder, [str(path) for name in chosen for path in _records(name)])
    for name in SETTINGS:
        _copy(folder, [str(path) for path in (Path("/etc", name), *Path("/etc", name).rglob("*"))])
    _write_records(folder, chosen)
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/bin/false\n")
    (folder / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    for name in ("tmp", "var/tmp"):
        (folder / name).chmod(0o1777)


def _installed() -> dict[str, tuple[bool, str]]:
    """Of each installed package, also by what it provides: whether it is essential, and what it depends on."""
    form = (
        r"${binary:Package}\t${Essential}${Protected}\t${Pre-Depends}, ${Depends}\t${Provides}\t${db:Status-Status}\n"
    )
    found: dict[str, tuple[bool, str]] = {}
    provided: dict[str, tuple[bool, str]] = {}
    for line in _output("dpkg-query", "-W", "-f", form).splitlines():
        name, essential, needs, provides, status = line.split("\t")
        if status == "installed":
            found[name.split(":")[0]] = ("yes" in essential, needs)
            provided.update({word: (False, name.split(":")[0]) for word in _words(provides)})
    return provided | found


def _closure(packages: dict[str, tuple[bool, str]]) -> list[str]:
    chosen: set[str] = set()
    waiting = [*NEEDED, *(name for name, (essential, _) in packages.items() if essential)]
    while waiting:
        name = waiting.pop()
        if name in chosen:
            continue
        if name not in packages:
            raise LookupError(f"the Debian package {name} is not installed")
        chosen.add(name)
        for group in packages[name][1].split(","):
            there = [word for word in _words(group.replace("|", ",")) if word in packages]
            waiting += there[:1]
    return sorted(name for name in chosen if _records(name))


def _words(text: str) -> list[str]:
    """Package names of `a (>= 1), b:any`."""
    return [word.split()[0].split(":")[0] for word in text.split(",") if word.strip()]


def _records(name: str) -> list[Path]:
    """dpkg's files about a package: NAME.list, or NAME:ARCHITECTURE.list where several could be installed."""
    info = DPKG / "info"
    return [*info.glob(f"{name}.*"), *info.glob(f"{name}:*.*")]


def _write_records(folder: Path, chosen: Iterable[str]) -> None:
    names = set(chosen)
    blocks = (DPKG / "status").read_text().split("\n\n")
    kept = [block for block in blocks if block.startswith("Package: ") and block.split("\n")[0][9:] in names]
    target = folder / DPKG.relative_to("/")
    (target / "updates").mkdir(parents=True, exist_ok=True)
    (target / "status").write_text("\n\n".join(kept) + "\n\n")
    (target / "info" / "format").write_text("1\n")
    for name in ("cache/apt/archives/partial", "lib/apt/lists/partial", "log/apt"):
        (folder / "var" / name).mkdir(parents=True, exist_ok=True)


def _copy(folder: Path, paths: Iterable[str]) -> None:
    """Copy files, links and folders under the same names. What this user may not read is left out."""
    for path in map(Path, paths):
        target = folder / path.relative_to("/")
        if path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (target.is_symlink() or target.exists()):
                target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(path, target)
            except PermissionError:
                continue


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
