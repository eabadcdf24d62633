"""A stream as one sees it: a line for each frame, a picture in the terminal, an animation."""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.deploy.stream import Answers
from difflogic_tonic.errors import ConfigError, UserError
from difflogic_tonic.storage import atomic_write
from difflogic_tonic.sync.pictures import colours_of, full_colour, joined

SCREEN_COLUMNS = 56
"""Width of the picture in a terminal that has room for it."""

SIDE_COLUMNS = 42
"""Width of what stands beside it: a vote with its bar, and the space in front."""

NARROWEST = 16
"""Width of the picture where the terminal has not even room for what stands beside it."""

SCREEN_SECONDS = 0.05
"""A terminal is not drawn again sooner."""

MOST_PAGES = 400
"""Frames of an animation; a longer stream is shown to there."""

PICTURE_PIXELS = 300
BAR_PIXELS, LINE_PIXELS = 130, 18
LONGEST_NAME = 12
CHOSEN, OTHER, INK, PAPER = (0, 114, 178), (187, 187, 187), (40, 40, 40), (255, 255, 255)
"""Blue of Okabe and Ito (2008), greys: told apart with every kind of colour vision, and by length and a mark too."""

MOVING = (".gif", ".mp4")


class Lines:
    """One line for each frame on standard output."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self._n = 0

    def __call__(self, answers: Answers) -> None:
        chosen, voted = answers.scores.argmax(1), answers.votes.argmax(1)
        for row in range(len(answers)):
            print(
                f"frame {self._n}  at {answers.frames.ends_us[row] / 1e6:.6f} s"
                f"  class {self.class_names[chosen[row]]} (score {answers.scores[row, chosen[row]]})"
                f"  vote {self.class_names[voted[row]]}  {answers.latency * 1e3:.3f} ms"
            )
            self._n += 1


class Screen:
    """The newest frame and its votes, in place, in a terminal that knows the escape codes of ECMA-48."""

    def __init__(self, class_names: Sequence[str], manifest: Manifest) -> None:
        self.class_names = class_names
        self.manifest = manifest
        self._drawn = -1e9
        self._n = self._height = 0
        self._waiting: Answers | None = None

    def __call__(self, answers: Answers) -> None:
        self._n += len(answers)
        self._waiting = answers
        if time.monotonic() - self._drawn >= SCREEN_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Draw what has not been drawn yet."""
        answers, self._waiting = self._waiting, None
        if answers is None:
            return
        self._drawn = time.monotonic()
        # a line that is broken, or one that scrolls, would leave parts of every frame behind
        columns, rows = shutil.get_terminal_size((SCREEN_COLUMNS + SIDE_COLUMNS + 1, 40))
        width, most = min(SCREEN_COLUMNS, max(NARROWEST, columns - SIDE_COLUMNS - 1)), max(3, rows - 1)
        picture = _as_text(picture_of(answers.frames.frames[-1], self.manifest, width, 2 * most), width)
        votes = votes_as_text(self.class_names, answers.votes[-1], int(answers.scores[-1].argmax()), min(12, most - 2))
        head = f"frame {self._n - 1}  {answers.frames.ends_us[-1] / 1e6:.3f} s  {answers.latency * 1e3:.2f} ms"
        side = [f"  {text}"[: max(0, columns - width - 1)] for text in [head, "", *votes]]
        rows = max(len(picture), len(side))
        picture += [" " * width] * (rows - len(picture))
        side += [""] * (rows - len(side))
        lines = [left + right for left, right in zip(picture, side, strict=True)]
        back = f"\x1b[{self._height}A" if self._height else ""
        sys.stdout.write(back + "".join(f"\x1b[2K{line}\n" for line in lines))
        sys.stdout.flush()
        self._height = rows


class Animation:
    """Events with the prediction over time, as a GIF or, by ffmpeg, an MP4. ConfigError for another ending."""

    def __init__(self, path: Path, class_names: Sequence[str], manifest: Manifest) -> None:
        if path.suffix.lower() not in MOVING:
            raise ConfigError(f"--animation {path}: expected a name that ends in {' or '.join(MOVING)}")
        if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
            raise UserError("ffmpeg is not installed, which writes MP4; install it, or ask for a .gif")
        if not path.parent.is_dir():  # a stream may take hours, and its animation is written at the end
            raise ConfigError(f"--animation {path}: no folder {path.parent}; make it first")
        self.path = path
        self.class_names = class_names
        self.manifest = manifest
        self._kept: list[tuple[np.ndarray, int, np.ndarray, int]] = []
        self.n_frames = 0

    def __len__(self) -> int:
        """Frames that it shows."""
        return len(self._kept)

    def __call__(self, answers: Answers) -> None:
        self.n_frames += len(answers)
        for row in range(min(len(answers), MOST_PAGES - len(self._kept))):
            chosen = int(answers.scores[row].argmax())
            frame = answers.frames.frames[row].copy()
            self._kept.append((frame, int(answers.frames.ends_us[row]), answers.votes[row], chosen))

    def write(self) -> None:
        """UserError without any frame."""
        if not self._kept:
            raise UserError(f"the stream had no frame, so there is nothing to show in {self.path}")
        counts = [_counts_of(kept[0], self.manifest) for kept in self._kept]
        full = full_colour(counts)
        pages = [self._page(number, counts[number], full) for number in range(len(self._kept))]
        ends = np.array([kept[1] for kept in self._kept]) / 1e3
        # as long as in the world, within what one can follow
        lasts = np.clip(np.diff(ends, prepend=ends[0]), 40, 400).astype(int).tolist()
        if self.path.suffix.lower() == ".mp4":
            _write_mp4(self.path, pages, float(np.median(lasts)))
            return
        with atomic_write(self.path) as partial:
            pages[0].save(
                partial, format="GIF", save_all=True, append_images=pages[1:], duration=lasts, loop=0, disposal=1
            )

    def _page(self, number: int, counts: np.ndarray, full: int) -> Image.Image:
        _, end_us, votes, chosen = self._kept[number]
        picture = Image.fromarray(colours_of(counts, full, self.manifest))
        factor = max(1, PICTURE_PIXELS // max(picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        shown = shown_classes(votes, chosen, max(4, (picture.height - 10) // LINE_PIXELS))
        height = max(picture.height, len(shown) * LINE_PIXELS + 10) + 24
        width = picture.width + BAR_PIXELS + 170
        page = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)  # video codecs want even sizes
        page.paste(picture, (0, 0))
        pen = ImageDraw.Draw(page)
        pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=OTHER)
        left = picture.width + 12
        for line, k in enumerate(shown):
            top = 6 + line * LINE_PIXELS
            mark = ">" if k == chosen else " "
            pen.text((left, top), f"{mark} {self.class_names[k][:LONGEST_NAME]}", fill=INK)
            bar = left + 90
            long = round(BAR_PIXELS * _share(votes, k))
            pen.rectangle((bar, top + 1, bar + BAR_PIXELS, top + 12), outline=OTHER)
            if long:
                pen.rectangle((bar, top + 1, bar + long, top + 12), fill=CHOSEN if k == votes.argmax() else OTHER)
            pen.text((bar + BAR_PIXELS + 6, top), _number(votes[k]), fill=INK)
        voted = self.class_names[int(votes.argmax())]
        caption = f"frame {number}, {end_us / 1e6:.3f} s: {self.class_names[chosen]} (> this frame), vote {voted} (bar)"
        pen.text((4, page.height - 18), caption, fill=INK)
        return page


def picture_of(frame: np.ndarray, manifest: Manifest, most_columns: int, most_rows: int) -> np.ndarray:
    """A stored frame as colours u8[h, w, 3], of so many pixels at most."""
    counts = _counts_of(frame, manifest)
    _, height, width = counts.shape
    counts = joined(counts, max(-(-width // most_columns), -(-height // most_rows)), is_image=False)
    return colours_of(counts, full_colour([counts]), manifest)


def votes_as_text(class_names: Sequence[str], votes: np.ndarray, chosen: int, most: int) -> list[str]:
    """A line for each of the strongest classes, in their order: name, bar, value; `>` marks the class of the frame."""
    lines = []
    for k in shown_classes(votes, chosen, most):
        bar = "█" * round(20 * _share(votes, k))
        mark = ">" if k == chosen else " "
        lines.append(f"{mark} {class_names[k][:LONGEST_NAME]:<{LONGEST_NAME}} {bar:<20} {_number(votes[k])}")
    return lines


def shown_classes(votes: np.ndarray, chosen: int, most: int) -> list[int]:
    """The classes with the most votes and the chosen one, at most `most`, in the order of the classes."""
    best = np.argsort(-votes, kind="stable")[:most].tolist()
    if chosen not in best:
        best[-1] = chosen
    return sorted(best)


def _share(votes: np.ndarray, k: int) -> float:
    """Length of a bar: of probabilities themselves, of scores in comparison with the highest."""
    return float(votes[k] / max(1.0, votes.max()))


def _number(vote: float) -> str:
    return f"{vote:.2f}" if vote <= 1 else f"{vote:.1f}"


def _counts_of(frame: np.ndarray, manifest: Manifest) -> np.ndarray:
    """A stored frame as counts u8[P, H, W]; the levels of a thermometer become their sum."""
    sensor = manifest.sensor
    values = frame if manifest.storage == "u8" else np.unpackbits(frame, count=sensor.values, bitorder="little")
    counts = values.reshape(manifest.frame_shape)
    levels = len(manifest.parameters.get("levels") or [0])
    return counts.reshape(-1, levels, *counts.shape[1:]).sum(1).astype(np.uint8) if levels > 1 else counts


def _as_text(picture: np.ndarray, columns: int) -> list[str]:
    """Two rows of pixels in a row of characters: the upper half is the colour of the sign, the lower its ground."""
    height, width, _ = picture.shape
    padded = np.full((height + height % 2, columns, 3), 255, np.uint8)
    padded[:height, :width] = picture
    lines = []
    for row in range(0, len(padded), 2):
        signs = (
            f"\x1b[38;2;{u[0]};{u[1]};{u[2]};48;2;{w[0]};{w[1]};{w[2]}m▀"
            for u, w in zip(padded[row].tolist(), padded[row + 1].tolist(), strict=True)
        )
        lines.append("".join(signs) + "\x1b[0m")
    return lines


def _write_mp4(path: Path, pages: Sequence[Image.Image], page_ms: float) -> None:
    width, height = pages[0].size
    with atomic_write(path) as partial:
        command = [
            "ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
            "-r", f"{1000 / page_ms:.3f}", "-i", "-", "-pix_fmt", "yuv420p", "-f", "mp4", str(partial),
        ]  # fmt: skip
        content = b"".join(page.tobytes() for page in pages)
        done = subprocess.run(command, input=content, capture_output=True, check=False)
        if done.returncode:
            raise UserError(f"ffmpeg could not write {path}: {done.stderr.decode(errors='replace').strip()[:200]}")
