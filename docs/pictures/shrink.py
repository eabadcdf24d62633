"""Pictures of a report to small ones for the documentation: `shrink.py FOLDER OUTPUT`."""

import sys
from pathlib import Path

from PIL import Image

PICTURES = {
    "dashboard.png": 1000,
    "page.png": 900,
    "difflogic_42/curves.png": 900,
    "difflogic_42/confusion.png": 520,
    "difflogic_42/mistakes.png": 560,
    "difflogic_42/gates.png": 480,
    "snn_rate_42/raster.png": 640,
    "snn_rate_42/encoder_0.png": 900,
}
"""File to the width in pixels that it is shrunk to."""

COLOURS = 256
"""Fewer tint the grey lines of the curves and put steps into the colour bars."""

MISTAKES_SHOWN = 0.35
"""Of the height of the list of mistakes: the first four."""


def main(folder: Path, output: Path) -> None:
    for name, width in PICTURES.items():
        if not (folder / name).exists():
            print(f"not there: {folder / name}")
            continue
        with Image.open(folder / name) as image:
            shown = image.convert("RGB")
        if name.endswith("mistakes.png"):
            shown = shown.crop((0, 0, shown.width, round(MISTAKES_SHOWN * shown.height)))
        small = shown.resize((width, round(shown.height * width / shown.width)), Image.Resampling.LANCZOS)
        small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            output / Path(name).name, optimize=True
        )
    animation = next((folder / "snn_rate_42").glob("spike_bar_1_*.gif"), None)
    if animation is not None:
        (output / "spike_bar.gif").write_bytes(animation.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
