"""Pictures of real runs: trained, then drawn from their folders, with their data and without."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.report.gallery import Gallery
from difflogic_tonic.report.pictures import draw_inside, draw_run
from difflogic_tonic.report.reading import read_run

pytestmark = pytest.mark.integration


def pictures(laboratory: Any, output: Path) -> set[str]:
    places = StoragePaths(laboratory.scratch, laboratory.project)
    assert draw_run(Namespace(run="job", output=output), places) == 0
    found = {path.name for path in output.iterdir()}
    page = (output / "index.html").read_text()
    assert all(name in page for name in found if name.endswith((".png", ".gif")))
    return found


def test_a_spiking_network_is_drawn_inside_and_out(laboratory: Any, tmp_path: Path) -> None:
    laboratory.write_config("SNN", epochs=1, measure_spikes=1)
    laboratory.main()
    found = pictures(laboratory, tmp_path / "whole")
    wanted = {"curves.png", "spike_rates.png", "potentials.png", "raster.png", "membranes.png", "confusion.png"}
    assert wanted <= found
    for number in range(5):
        assert {f"encoder_{number}.{form}" for form in ("png", "pdf", "svg")} <= found
        (animation,) = (tmp_path / "whole").glob(f"spike_bar_{number}_target*.gif")
        with Image.open(animation) as image:
            assert image.n_frames >= 2


def test_without_its_data_a_run_says_in_a_line_what_is_not_drawn(laboratory: Any, tmp_path: Path) -> None:
    laboratory.write_config("SNN", epochs=1)
    laboratory.main()
    for place in (laboratory.scratch, laboratory.project):
        (place / "data").unlink()
    gallery = Gallery(tmp_path / "pictures")
    run = read_run(laboratory.project / "runs" / "job")
    draw_inside(run, gallery, StoragePaths(laboratory.scratch, laboratory.project))
    assert gallery.made == []
    (line,) = gallery.missing
    assert line.startswith("raster, membranes, class scores and spikes of the encoder: no prepared NMNIST")
    assert "./prepare_data.sh" in line


def test_a_logic_network_is_drawn_with_its_gates_wires_and_mistakes(laboratory: Any, tmp_path: Path) -> None:
    laboratory.write_config("DiffLogic", epochs=1)
    laboratory.main()
    found = pictures(laboratory, tmp_path / "whole")
    wanted = {
        "curves.png",
        "gap.png",
        "gates.png",
        "gates_over_time.png",
        "wiring.png",
        "calibration.png",
        "mistakes.png",
    }
    assert wanted <= found
    (laboratory.project / "models" / "job" / "best.pt").write_bytes(b"half")
    assert "wiring.png" not in pictures(laboratory, tmp_path / "without")
