"""Make pip's settings on this machine usable in an image that is built on it: `pip_settings.py FOLDER`.

Writes FOLDER/pip.conf, for which FOLDER will be /mnt, with a copy of the certificates it names. Indexes and wheel
folders on this machine's disk are renamed to folders under /mnt; what to bind there is printed, a `SOURCE:TARGET` in
each line. Reads what `pip config list` says, so that files and PIP_* variables both count; needs only Python and pip.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

INSIDE = "/mnt"
PLACES = ("find-links", "index-url", "extra-index-url")
SECTIONS = ("global", "install", ":env:")
"""Those that hold for `pip install`; a later one wins."""
KEPT = (*PLACES, "cert", "no-index", "pre", "prefer-binary", "proxy", "retries", "timeout", "trusted-host")


class Unusable(Exception):
    """A setting that cannot hold in the image; one line for whoever builds it."""


class Settings:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binds: list[str] = []

    def translate(self, name: str, value: str) -> str:
        """The value that holds inside the image."""
        if name == "cert":
            try:
                shutil.copyfile(value, self.folder / "certificates.pem")
            except OSError as error:
                raise Unusable(
                    f"pip's setting cert={value} cannot be read ({error.strerror}); expected a file of certificates: "
                    "correct or remove it (pip config debug says where it is set), or build with "
                    "PIP_CONFIG_FILE=/dev/null"
                ) from None
            return f"{INSIDE}/certificates.pem"
        return " ".join(map(self._place, value.split())) if name in PLACES else value

    def _place(self, word: str) -> str:
        """An index or wheel folder. Pages of an index link to files beside its folder, so its parent is bound."""
        path = Path(unquote(urlsplit(word).path) if word.startswith("file:") else word)
        if not path.is_absolute() or not path.exists():
            return word
        outside, rest = (path.parent, path.name) if word.startswith("file:") else (path, "")
        name = f"pip{len(self.binds)}"
        (self.folder / name).mkdir()
        self.binds.append(f"{outside}:{INSIDE}/{name}")
        inside = f"{INSIDE}/{name}/{rest}".rstrip("/")
        return f"file://{inside}" if word.startswith("file:") else inside


def main(folder: Path) -> int:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:  # no pip here: the one in the image has its defaults
        return 0
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.stdout.splitlines():
        if match := re.fullmatch(r"([\w:]+)\.([\w-]+)=('.*'|\".*\")", line):
            section, name, text = match.groups()
            name = name.removeprefix("default-")  # PIP_DEFAULT_TIMEOUT is the timeout
            if name in KEPT and section in found:
                found[section][name] = str(ast.literal_eval(text))
    rows = {name: value for section in SECTIONS for name, value in found[section].items()}
    settings = Settings(folder)
    try:
        lines = [f"{name} = {settings.translate(name, value)}\n" for name, value in rows.items()]
    except Unusable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (folder / "pip.conf").write_text("[global]\n" + "".join(lines))
    print(*settings.binds, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
