"""Events from a file to answers: events per second, and the latency of a frame, of a 4 x 4,000 logic network.

    .venv/bin/python benchmarks/stream.py [--events 4000000] [--per-frame 1000] [--rounds 5]

A random circuit (its gates cost what trained ones cost before simplification) on 34 x 34 pixels, events of a random
walk in an ATIS file, frames of `--per-frame` events without overlap, one thread. CPU time, median of several rounds;
the latency is wall time from the last event of a frame being there to its class.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from difflogic_tonic.config import SensorSize
from difflogic_tonic.deploy.sources import Ask, open_source
from difflogic_tonic.deploy.stream import Classifier, Totals, classify
from difflogic_tonic.events import FrameRecipe, encode_atis, make_events
from difflogic_tonic.events.live import Framer
from difflogic_tonic.netlist import Circuit, InputCode, netlist_from_layers
from difflogic_tonic.netlist.engine import Engine

SENSOR = SensorSize(34, 34, 2)
WIDTH, LAYERS, CLASSES = 4000, 4, 10
BATCHES = (1, 16, 64, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--per-frame", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    circuit = random_circuit()
    engine = Engine(circuit.netlist)
    print(
        f"{engine.netlist.n_gates:,} gates after simplification, {engine.level}; {arguments.per_frame} events a frame"
    )
    print(f"{'frames at a time':>16}  {'million events/s':>16}  {'µs a frame':>10}  {'latency ms (median)':>19}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walk.bin"
        path.write_bytes(walk(arguments.events))
        for storage in ("u8", "bits"):
            for batch in BATCHES:
                rounds = [
                    one_round(circuit, engine, path, batch, arguments.per_frame, storage)
                    for _ in range(arguments.rounds + 1)
                ][1:]
                seconds = statistics.median(seconds for seconds, _ in rounds)
                latency = statistics.median(totals.latency(50) for _, totals in rounds)
                frames = rounds[0][1].frames
                print(
                    f"{batch:>10} {storage:>5}  {arguments.events / seconds / 1e6:>16.1f}"
                    f"  {seconds / frames * 1e6:>10.1f}  {latency * 1e3:>19.3f}"
                )


def one_round(
    circuit: Circuit, engine: Engine, path: Path, batch: int, per_frame: int, storage: str
) -> tuple[float, Totals]:
    recipe = FrameRecipe(SENSOR, per_frame, storage=storage)  # type: ignore[arg-type]
    totals = Totals()
    pieces = open_source(Ask(str(path), follow=True, idle=0.0, piece=batch * per_frame), recipe)
    start = time.process_time()
    classify(pieces, Framer(recipe), Classifier(circuit, engine), batch, lambda answers: None, totals)
    return time.process_time() - start, totals


def random_circuit() -> Circuit:
    rng = np.random.default_rng(0)
    widths = [SENSOR.values, *[WIDTH] * LAYERS]
    layers = [
        (rng.integers(0, 16, after), rng.integers(0, before, after), rng.integers(0, before, after))
        for before, after in pairwise(widths)
    ]
    netlist = netlist_from_layers(SENSOR.values, layers, CLASSES, tau=10.0)
    code = InputCode((SENSOR.polarities, SENSOR.height, SENSOR.width), np.ones((1, 1), np.float32))
    return Circuit(netlist, code, tuple("0123456789"))


def walk(n: int) -> bytes:
    """Events around a spot that moves, as ATIS records; the clock may go round, which frames by count do not see."""
    rng = np.random.default_rng(1)
    spot = np.cumsum(rng.normal(0, 0.05, (2, n)), 1) % 34
    x, y = (np.clip(place + rng.normal(0, 4, n), 0, 33).astype(np.uint16) for place in spot)
    return encode_atis(make_events(x, y, np.sort(rng.integers(0, 8_000_000, n)), rng.integers(0, 2, n)))


if __name__ == "__main__":
    main()
