"""Which two outputs of the layer before (or input features) each neuron reads.

A wiring is int32[2, n]: row 0 the a input, row 1 the b input of each of the n neurons.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from difflogic_tonic.errors import ConfigError

WINDOW_RADIUS = 2
"""Structured wiring, first layer: b lies at most this many pixels from a, in x and in y."""


@dataclass(frozen=True)
class Place:
    """Where in a network a layer is: `layer` of `layers`, and the (channels, rows, columns) of the network's input.

    `input_shape` None is one row of in_features pixels.
    """

    in_features: int
    neurons: int
    layer: int = 0
    layers: int = 1
    classes: int = 1
    input_shape: tuple[int, int, int] | None = None


def check_connected(in_features: int, neurons: int) -> None:
    """ConfigError where `neurons` two-input gates cannot reach all `in_features` inputs."""
    if 2 * neurons < in_features:
        raise ConfigError(
            f"{neurons} neurons have {2 * neurons} inputs and leave some of {in_features} features unconnected;"
            f" num_neurons of at least {(in_features + 1) // 2} reaches them all"
        )


def check_wiring(wiring: Tensor, in_features: int) -> None:
    """ConfigError where an index is outside of 0 to in_features - 1: the state of another network was loaded."""
    low, high = (int(bound) for bound in wiring.aminmax())
    if low < 0 or high >= in_features:
        raise ConfigError(f"wiring reads features {low} to {high} where there are 0 to {in_features - 1}")


def random_wiring(place: Place, generator: torch.Generator) -> Tensor:
    """Every input used floor(2n / in) or one more times, in random pairs; a neuron may read one input twice."""
    in_features, neurons = place.in_features, place.neurons
    uses = torch.randperm(2 * neurons, generator=generator) % in_features
    return torch.randperm(in_features, generator=generator)[uses].reshape(2, neurons).to(torch.int32)


def unique_wiring(place: Place, generator: torch.Generator) -> Tensor:
    """Every input used, the two inputs of a neuron differ, and no two neurons read the same pair."""
    in_features, neurons = place.in_features, place.neurons
    pairs = in_features * (in_features - 1) // 2
    if neurons > pairs:
        raise ConfigError(
            f"wiring unique: {in_features} features have {pairs} pairs, too few for {neurons} neurons; use random"
        )
    cover = _covering_pairs(in_features, generator)
    codes = _fill_with_unused_pairs(_pair_codes(cover, in_features), in_features, neurons, generator)
    codes = codes[torch.randperm(neurons, generator=generator)]
    wiring = torch.stack((codes // in_features, codes % in_features))
    swap = torch.rand(neurons, generator=generator) < 0.5  # else a would always be the lower feature
    return torch.where(swap, wiring.flip(0), wiring).to(torch.int32)


def _covering_pairs(in_features: int, generator: torch.Generator) -> Tensor:
    """Disjoint random pairs [2, ceil(in / 2)] that hold every feature; with an odd number, one feature is in two."""
    order = torch.randperm(in_features, generator=generator)
    if in_features % 2:
        order = torch.cat((order, order[:1]))
    return order.reshape(2, -1) if in_features % 2 == 0 else torch.stack((order[0::2], order[1::2]))


def _pair_codes(pairs: Tensor, in_features: int) -> Tensor:
    return pairs.amin(0) * in_features + pairs.amax(0)


def _fill_with_unused_pairs(codes: Tensor, in_features: int, neurons: int, generator: torch.Generator) -> Tensor:
    """`codes` of distinct pairs, extended with distinct random ones to `neurons` codes."""
    pairs = in_features * (in_features - 1) // 2
    if 4 * neurons > pairs:  # dense: list all pairs, drop the used ones
        rest = torch.triu_indices(in_features, in_features, 1)
        rest_codes = rest[0] * in_features + rest[1]
        rest_codes = rest_codes[~torch.isin(rest_codes, codes)]
        chosen = rest_codes[torch.randperm(rest_codes.numel(), generator=generator)]
        return torch.cat((codes, chosen))[:neurons]
    while codes.numel() < neurons:  # sparse: at most a quarter is taken, so few draws are rejected
        drawn = torch.randint(in_features, (2, neurons), generator=generator)
        drawn_codes = torch.unique(_pair_codes(drawn[:, drawn[0] != drawn[1]], in_features))
        fresh = drawn_codes[~torch.isin(drawn_codes, codes)]
        # torch.unique sorts; without this the low features would win
        fresh = fresh[torch.randperm(fresh.numel(), generator=generator)]
        codes = torch.cat((codes, fresh))
    return codes[:neurons]


def structured_wiring(place: Place, generator: torch.Generator) -> Tensor:
    """Neighbouring pixels first, then neighbours at growing distance: neurons stay in the order of the pixels.

    First layer: a walks over all pixels (channels of a pixel together), b is another one in the window around it.
    Layer l of L further on: a walks over the layer before, b is +-m^(l / L) neurons from it, m being the width before:
    for images that is first along a row, then across rows, then across the image, like the stages of a butterfly. The
    last layer (the first, if there is no other) hands each class an even sample of all positions.
    """
    m, n = place.in_features, place.neurons
    index = torch.arange(n)
    if place.layer == place.layers - 1:  # class k is made of n / classes neurons side by side
        size = n // place.classes
        index = index % size * place.classes + index // size
    if place.layer == 0:
        return _local_pairs(place, index, generator)
    a, b = _walk(index, m, n)
    if n >= m:
        distance = max(1, round(m ** (place.layer / place.layers)))
        sign = torch.randint(2, (n,), generator=generator) * 2 - 1
        b = (a + sign * distance) % m
    return torch.stack((a, b)).to(torch.int32)


def _walk(index: Tensor, inputs: int, neurons: int) -> tuple[Tensor, Tensor]:
    """Inputs for the neurons at these places in a walk over all inputs: one each, or two where neurons are fewer."""
    if neurons >= inputs:
        return index * inputs // neurons, index * inputs // neurons
    return 2 * index * inputs // (2 * neurons), (2 * index + 1) * inputs // (2 * neurons)


def _local_pairs(place: Place, index: Tensor, generator: torch.Generator) -> Tensor:
    """The first layer, its neurons at the places `index` of the walk over all pixels."""
    channels, rows, columns = place.input_shape or (1, 1, place.in_features)
    assert channels * rows * columns == place.in_features, place
    n = place.neurons
    a, b = _walk(index, place.in_features, n)  # pixel-major: (y * columns + x) * channels + channel
    if n >= place.in_features:
        y, x = a // channels // columns, a // channels % columns
        dy, dx = torch.randint(-WINDOW_RADIUS, WINDOW_RADIUS + 1, (2, n), generator=generator)
        channel = torch.randint(channels, (n,), generator=generator)
        b = ((y + dy).clamp(0, rows - 1) * columns + (x + dx).clamp(0, columns - 1)) * channels + channel
        b = torch.where(b == a, (a + channels) % place.in_features, b)  # the pixel itself: the next one instead
    pairs = torch.stack((a, b))
    return (pairs % channels * rows * columns + pairs // channels).to(torch.int32)


WIRINGS: dict[str, Callable[[Place, torch.Generator], Tensor]] = {
    "random": random_wiring,
    "unique": unique_wiring,
    "structured": structured_wiring,
}
