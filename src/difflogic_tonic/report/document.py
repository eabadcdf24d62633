"""An HTML file that needs nothing else."""

import html
from pathlib import Path

from difflogic_tonic.storage import atomic_write

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def save_document(path: Path, title: str, style: str, body: str) -> Path:
    """Write a page with `title` (plain text) above `body` (HTML). Raises `StorageError`."""
    page = _DOCUMENT.format(title=html.escape(title), style=style.strip(), body=body.strip())
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
