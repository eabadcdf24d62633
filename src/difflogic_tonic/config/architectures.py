"""Network strings such as `12C5-BN-MP2-64C5-MP2-FC10`: read, and checked against the frames they will see.

nCk   convolution to n channels with k×k kernels, without padding; `64C3P1` has one row and column of zeros around the
      image, `64C3P1S2` takes every second place
MPk   max pooling over k×k, APk average pooling; what does not fill a window is left out
AAPk  average pooling to k×k places, whatever arrives
FCn   dense layer to n neurons; `1600FC10` also says how many inputs it must find
BN    batch normalisation
DPx   dropout with probability x
ER    element-wise recurrence: the neurons before it also receive their own spikes of the step before
LR    linear recurrence: the neurons of the dense layer before it receive their input and all spikes of their layer of
      the step before through one more dense layer
SFx   synapse filter: what arrives becomes a current that decays with a time constant of x steps; `SF2L` learns it
Vn    vote, at the end: the score of a class is the mean of n neurons
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

Kind = Literal[
    "conv", "max_pool", "average_pool", "adaptive_pool", "dense", "norm", "dropout",
    "self_connection", "linear_recurrence", "synapse", "vote",
]  # fmt: skip
Shape = tuple[int, ...]

_NUMBER = r"[1-9]\d*"
_PATTERNS: dict[Kind, re.Pattern[str]] = {
    "conv": re.compile(rf"(?P<outputs>{_NUMBER})C(?P<size>{_NUMBER})(?:P(?P<padding>\d+))?(?:S(?P<stride>{_NUMBER}))?"),
    "max_pool": re.compile(rf"MP(?P<size>{_NUMBER})"),
    "average_pool": re.compile(rf"AP(?P<size>{_NUMBER})"),
    "adaptive_pool": re.compile(rf"AAP(?P<size>{_NUMBER})"),
    "dense": re.compile(rf"(?P<inputs>{_NUMBER})?FC(?P<outputs>{_NUMBER})"),
    "norm": re.compile(r"BN"),
    "dropout": re.compile(r"DP(?P<probability>0?\.\d+)"),
    "self_connection": re.compile(r"ER"),
    "linear_recurrence": re.compile(r"LR"),
    "synapse": re.compile(r"SF(?P<tau>\d+(?:\.\d+)?)(?P<learnable>L)?"),
    "vote": re.compile(rf"V(?P<size>{_NUMBER})"),
}
_WHOLE_NUMBERS = ("outputs", "inputs", "size", "padding", "stride")
_LARGEST = 2**31 - 1
_EXPECTED = "expected nCk, MPk, APk, AAPk, FCn, BN, DPx, ER, LR, SFx or Vn, e.g. 12C5-MP2-64C5-MP2-FC10"


_WEIGHTS = ("conv", "dense")
_POOLINGS = ("max_pool", "average_pool", "adaptive_pool")
_RECURRENT = ("self_connection", "linear_recurrence")
_BETWEEN = ("norm", *_POOLINGS)
"""What may stand between weights and their neurons."""


@dataclass(frozen=True)
class Layer:
    """One token with the shapes around it: [channels, height, width] before the first dense layer, [neurons] after."""

    kind: Kind
    token: str
    input_shape: Shape
    output_shape: Shape
    size: int = 0
    """Side of the kernel or window, places of `adaptive_pool`, neurons of a `vote`."""

    padding: int = 0
    stride: int = 1
    probability: float = 0.0
    """Of being dropped, for `dropout`."""

    tau: float = 0.0
    """Time constant of a `synapse` in steps, above 1."""

    learnable: bool = False
    """Whether `tau` is."""

    @property
    def has_weights(self) -> bool:
        """Whether neurons follow: normalisation belongs to the layer before it."""
        return self.kind in _WEIGHTS

    @property
    def reads_spikes(self) -> bool:
        """Whether what stands before it has its neurons first."""
        return self.kind not in (*_BETWEEN, *_RECURRENT)

    @property
    def holds_neurons(self) -> bool:
        """Whether it contains the neurons of the layer before it."""
        return self.kind in _RECURRENT


def read_architecture(text: str, frame_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """The layers that `text` names for frames of [P, H, W]. Raises `ValueError` naming the token that does not fit."""
    shape: Shape = frame_shape
    layers: list[Layer] = []
    for position, token in enumerate(text.split("-"), start=1):
        try:
            layer = _read_token(token, shape)
            _check_place(layer, layers)
        except ValueError as error:
            raise ValueError(f"architecture {text!r}: token {position}, {token!r}: {error}") from None
        layers.append(layer)
        shape = layer.output_shape
    last = layers[-1]
    if last.kind not in ("dense", "vote") or last.output_shape != (classes,):
        many = f", or FC{classes * last.size}-{last.token}" if last.kind == "vote" else ""
        raise ValueError(
            f"architecture {text!r}: the last token is {last.token!r}, expected FC{classes}{many} for {classes} classes"
        )
    return layers


def _read_token(token: str, shape: Shape) -> Layer:
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(token):
            fields = match.groupdict()
            if any(int(fields.get(name) or 0) > _LARGEST for name in _WHOLE_NUMBERS):
                raise ValueError(f"expected numbers up to {_LARGEST}")
            layer = Layer(
                kind,
                token,
                shape,
                shape,
                size=int(fields.get("size") or 0),
                padding=int(fields.get("padding") or 0),
                stride=int(fields.get("stride") or 1),
                probability=float(fields.get("probability") or 0),
                tau=float(fields.get("tau") or 0),
                learnable=bool(fields.get("learnable")),
            )
            return replace(layer, output_shape=_OUTPUTS[kind](layer, fields)) if kind in _OUTPUTS else layer
    raise ValueError(_EXPECTED)


def _check_place(layer: Layer, before: list[Layer]) -> None:
    """Whether what a token refers to stands before it."""
    kinds = [other.kind for other in before]
    if "vote" in kinds:
        raise ValueError(f"{before[-1].token} is the end of a network")
    if layer.kind == "norm" and (not kinds or kinds[-1] not in (*_WEIGHTS, *_POOLINGS)):
        raise ValueError("batch normalisation has no convolution or dense layer before it")
    if (
        layer.kind in _RECURRENT
        and next((kind for kind in reversed(kinds) if kind not in _BETWEEN), "") not in _WEIGHTS
    ):
        raise ValueError("there are no neurons before it: it follows nCk or FCn, with their BN and pooling")
    if layer.kind == "vote" and kinds[-1] not in ("dense", "norm"):
        raise ValueError("there is no dense layer right before it")


def _dense(layer: Layer, fields: dict[str, str | None]) -> Shape:
    announced = fields["inputs"]
    arriving = prod(layer.input_shape)
    if announced is not None and int(announced) != arriving:
        raise ValueError(f"{announced} inputs are announced, but {arriving} arrive ({_as_text(layer.input_shape)})")
    return (int(fields["outputs"] or 0),)


def _conv(layer: Layer, fields: dict[str, str | None]) -> Shape:
    _, height, width = _image(layer)
    if layer.padding >= layer.size:
        raise ValueError(f"a padding of {layer.padding} is too wide for a kernel of {layer.size}")
    rows, columns = ((side + 2 * layer.padding - layer.size) // layer.stride + 1 for side in (height, width))
    return (int(fields["outputs"] or 0), rows, columns)


def _pool(layer: Layer, fields: dict[str, str | None]) -> Shape:
    channels, height, width = _image(layer)
    return (channels, height // layer.size, width // layer.size)


def _adaptive(layer: Layer, fields: dict[str, str | None]) -> Shape:
    channels, _, _ = _image(layer)
    return (channels, layer.size, layer.size)


def _image(layer: Layer) -> tuple[int, int, int]:
    """Channels, height and width that arrive. `ValueError` for no image, or one that the window does not fit into."""
    if len(layer.input_shape) != 3:
        raise ValueError(f"needs an image, but a dense layer of {layer.input_shape[0]} neurons comes before it")
    channels, height, width = layer.input_shape
    if min(height, width) + 2 * layer.padding < layer.size:
        raise ValueError(f"{layer.size}×{layer.size} does not fit into the {height}×{width} pixels that arrive")
    return channels, height, width


def _vote(layer: Layer, fields: dict[str, str | None]) -> Shape:
    if len(layer.input_shape) != 1:
        raise ValueError("there is no dense layer before it")
    if layer.input_shape[0] % layer.size:
        raise ValueError(f"{_as_text(layer.input_shape)} neurons arrive, which are no groups of {layer.size}")
    return (layer.input_shape[0] // layer.size,)


def _linear_recurrence(layer: Layer, fields: dict[str, str | None]) -> Shape:
    if len(layer.input_shape) != 1:
        raise ValueError(f"needs a dense layer, but {_as_text(layer.input_shape)} arrive; use ER, or FCn before it")
    return layer.input_shape


def _synapse(layer: Layer, fields: dict[str, str | None]) -> Shape:
    if not layer.tau > 1:
        raise ValueError(f"a current with a time constant of {layer.tau:g} steps keeps nothing; use more than 1")
    return layer.input_shape


_OUTPUTS: dict[Kind, Callable[[Layer, dict[str, str | None]], Shape]] = {
    "conv": _conv,
    "max_pool": _pool,
    "average_pool": _pool,
    "adaptive_pool": _adaptive,
    "dense": _dense,
    "linear_recurrence": _linear_recurrence,
    "synapse": _synapse,
    "vote": _vote,
}
"""Shape behind a layer; of the others, that before it."""


def _as_text(shape: Shape) -> str:
    return "×".join(str(side) for side in shape)
