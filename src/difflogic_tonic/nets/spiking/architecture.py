"""Network strings such as `12C5-BN-MP2-64C5-MP2-FC10`: read, and checked against the frames they will see.

nCk   convolution to n channels with k×k kernels, without padding
MPk   max pooling over k×k, APk average pooling; what does not fill a window is left out
FCn   dense layer to n neurons; `1600FC10` also says how many inputs it must find
BN    batch normalisation
DPx   dropout with probability x
"""

import re
from dataclasses import dataclass
from math import prod
from typing import Literal

Kind = Literal["conv", "max_pool", "average_pool", "dense", "norm", "dropout"]

_PATTERNS: dict[Kind, re.Pattern[str]] = {
    "conv": re.compile(r"(?P<outputs>[1-9]\d*)C(?P<size>[1-9]\d*)"),
    "max_pool": re.compile(r"MP(?P<size>[1-9]\d*)"),
    "average_pool": re.compile(r"AP(?P<size>[1-9]\d*)"),
    "dense": re.compile(r"(?P<inputs>[1-9]\d*)?FC(?P<outputs>[1-9]\d*)"),
    "norm": re.compile(r"BN"),
    "dropout": re.compile(r"DP(?P<probability>0?\.\d+)"),
}
_EXPECTED = "expected nCk, MPk, APk, FCn, BN or DPx, e.g. 12C5-MP2-64C5-MP2-FC10"


@dataclass(frozen=True)
class Layer:
    """One token with the shapes around it: [channels, height, width] before the first dense layer, [neurons] after."""

    kind: Kind
    token: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    size: int = 0
    """Side of the kernel or window, for `conv` and the poolings."""

    probability: float = 0.0
    """Of being dropped, for `dropout`."""

    @property
    def has_weights(self) -> bool:
        """Whether neurons follow: normalisation belongs to the layer before it."""
        return self.kind in ("conv", "dense")


def read_architecture(text: str, frame_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """The layers that `text` names for frames of [P, H, W]. Raises `ValueError` naming the token that does not fit."""
    shape: tuple[int, ...] = frame_shape
    layers: list[Layer] = []
    for position, token in enumerate(text.split("-"), start=1):
        try:
            layer = _read_token(token, shape)
            if layer.kind == "norm" and (not layers or layers[-1].kind in ("dropout", "norm")):
                raise ValueError("batch normalisation has no convolution or dense layer before it")
        except ValueError as error:
            raise ValueError(f"architecture {text!r}: token {position}, {token!r}: {error}") from None
        layers.append(layer)
        shape = layer.output_shape
    last = layers[-1]
    if last.kind != "dense" or last.output_shape != (classes,):
        raise ValueError(
            f"architecture {text!r}: the last token is {last.token!r}, expected FC{classes} for {classes} classes"
        )
    return layers


def _read_token(token: str, shape: tuple[int, ...]) -> Layer:
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(token):
            return _layer(kind, token, match.groupdict(), shape)
    raise ValueError(_EXPECTED)


def _layer(kind: Kind, token: str, fields: dict[str, str | None], shape: tuple[int, ...]) -> Layer:
    size = int(fields.get("size") or 0)
    outputs = int(fields.get("outputs") or 0)
    if kind in ("norm", "dropout"):
        return Layer(kind, token, shape, shape, probability=float(fields.get("probability") or 0))
    if kind == "dense":
        expected = fields.get("inputs")
        if expected is not None and int(expected) != prod(shape):
            raise ValueError(f"{expected} inputs are announced, but {prod(shape)} arrive ({_as_text(shape)})")
        return Layer(kind, token, shape, (outputs,))
    if len(shape) != 3:
        raise ValueError(f"needs an image, but a dense layer of {shape[0]} neurons comes before it")
    channels, height, width = shape
    if min(height, width) < size:
        raise ValueError(f"{size}×{size} does not fit into the {height}×{width} pixels that arrive")
    if kind == "conv":
        return Layer(kind, token, shape, (outputs, height - size + 1, width - size + 1), size)
    return Layer(kind, token, shape, (channels, height // size, width // size), size)


def _as_text(shape: tuple[int, ...]) -> str:
    return "×".join(str(side) for side in shape)
