"""MATLAB files of ASL-DVS: the variables x, y, ts (µs) and pol, each a column.

Read by scipy, which scikit-learn brings. y counts from the bottom row of the 240x180 sensor, as tonic has it, and is
turned here.
"""

import io
import struct
import zlib

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.columns import recorded
from difflogic_tonic.events.formats.recorded import Raw, Recorded

WIDTH, HEIGHT = 240, 180
COLUMNS = {"x": "x", "y": "y", "ts": "t", "pol": "p"}


def decode_asldvs(raw: Raw, where: str) -> Recorded:
    """The events of a recording of ASL-DVS. `RecordingError` for another or a damaged file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(io.BytesIO(raw.tobytes()), variable_names=list(COLUMNS))
    except (
        MatReadError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OSError,
        NotImplementedError,
        MemoryError,
    ) as error:
        raise RecordingError(f"{where}: no MATLAB file that can be read ({error}); unpack it again") from None
    except (zlib.error, struct.error, OverflowError, AttributeError, AssertionError) as error:
        raise RecordingError(f"{where}: the MATLAB file is damaged ({error}); unpack it again") from None
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise RecordingError(f"{where}: has no variable {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    columns = {role: found[name].reshape(-1) for name, role in COLUMNS.items()}
    columns["y"] = HEIGHT - 1 - columns["y"].astype("i8")
    events = recorded(columns, where).events
    return Recorded(events, WIDTH, HEIGHT)
