"""A folder of pictures with a page that shows them, what they mean, and what could not be drawn and why."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from difflogic_tonic.report.document import save_document
from difflogic_tonic.storage import needs_folder, storage_errors

_STYLE = """
body { margin: 1.5rem auto; max-width: 1200px; padding: 0 1rem; color: #1a1a1a; background: #fff;
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
img { max-width: 100%; height: auto; }
figure { margin: 1.5rem 0; }
.small { display: flex; flex-wrap: wrap; gap: 1rem; } .small figure { flex: 1 1 420px; margin: .5rem 0; }
figcaption { color: #595959; }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; white-space: pre-wrap; }
td { padding: .1rem 1rem .1rem 0; }
"""


@dataclass
class Gallery:
    """Pictures made in `folder` so far, with their captions; what is missing, as a line each."""

    folder: Path
    made: list[tuple[Path, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, caption: str, draw: Callable[[Path], object]) -> None:
        """Draw one picture: `draw` writes it where it is told to."""
        path = self.folder / name
        self._make_folder()
        draw(path)
        self.made.append((path, caption))

    def lacks(self, what: str, why: str) -> None:
        self.missing.append(f"{what}: {why}")

    def save_page(self, title: str, state: str, commands: Sequence[str], facts: Sequence[tuple[str, str]]) -> Path:
        """Write index.html. Raises `StorageError`."""
        parts = [f"<p>{html.escape(state)}</p>"]
        parts += ["<h2>Commands</h2>", *(f"<pre>{html.escape(command)}</pre>" for command in commands)]
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in facts)
        large = [one for one in self.made if one[0].parent == self.folder and one[0].suffix == ".png"]
        small = [one for one in self.made if one not in large]
        parts += [self._figure(*one) for one in large]
        parts.append('<div class="small">' + "".join(self._figure(*one) for one in small) + "</div>")
        if self.missing:
            lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.missing)
            parts.append(f"<h2>Not drawn</h2><ul>{lines}</ul>")
        self._make_folder()
        parts.append(f"<details><summary>All numbers of the summary</summary><table>{rows}</table></details>")
        return save_document(self.folder / "index.html", title, _STYLE, "\n".join(parts))

    def _make_folder(self) -> None:
        with storage_errors(self.folder, "making a folder"), needs_folder(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def _figure(self, path: Path, caption: str) -> str:
        name = html.escape(path.relative_to(self.folder).as_posix())
        shown = html.escape(caption)
        return f'<figure><img src="{name}" alt="{shown}"><figcaption>{shown} ({name})</figcaption></figure>'
