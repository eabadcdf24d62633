"""The convolutions of layers of spiking networks: our kernels, and torch in both layouts of memory.

    python benchmarks/snn_conv.py                 all layers, one thread, the fastest of 9 calls in ms on the processor
    python benchmarks/snn_conv.py --rounds 21

A fifth of the inputs are spikes, which ours looks up; "weights" and "input" are the gradients of these. That of the
input is ours by Winograd's algorithm where kernels are 3x3 and channels whole vectors, and else torch's.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.nets.spiking.spike_conv_cpu import Kernel, convolve, find_kernel, pack_spikes

LAYERS = (  # frames, inputs, outputs, kernel, padding, side
    (32, 64, 64, 3, 1, 32),
    (32, 128, 128, 3, 1, 16),
    (64, 128, 128, 3, 1, 14),
    (64, 12, 64, 5, 0, 12),
    (32, 256, 256, 3, 1, 8),
    (32, 512, 512, 3, 1, 4),
)


def fastest(call: Callable[[], object], rounds: int) -> float:
    """Milliseconds on the processor."""
    call()
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        call()
        found.append(time.process_time() - begun)
    return 1e3 * min(found)


def ours(kernel: Kernel, x: Tensor, weight: Tensor, padding: int, rounds: int) -> list[float]:
    """Packing, forward, gradient of the weights, gradient of the input."""
    spikes = pack_spikes(kernel, x, weight, padding)
    assert spikes is not None
    y = convolve(kernel, spikes, x, weight, None)
    grad = torch.randn_like(y)
    x = x.clone().requires_grad_()
    of_input = convolve(kernel, spikes, x, weight.detach(), None)
    return [
        fastest(lambda: pack_spikes(kernel, x, weight, padding), rounds),
        fastest(lambda: convolve(kernel, spikes, x, weight, None), rounds),
        fastest(lambda: torch.autograd.grad(y, [weight], grad, retain_graph=True), rounds),
        fastest(lambda: torch.autograd.grad(of_input, [x], grad, retain_graph=True), rounds),
    ]


def by_torch(x: Tensor, weight: Tensor, padding: int, rounds: int) -> list[float]:
    """Forward, gradient of the weights, gradient of the input."""
    weight = weight.detach()
    y = torch.nn.functional.conv2d(x, weight, padding=padding)
    grad = torch.randn_like(y)

    def backward(*wanted: bool) -> object:
        options = [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, [*wanted]
        return torch.ops.aten.convolution_backward(grad, x, weight, None, *options)

    return [
        fastest(lambda: torch.nn.functional.conv2d(x, weight, padding=padding), rounds),
        fastest(lambda: backward(False, True, False), rounds),
        fastest(lambda: backward(True, False, False), rounds),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    kernel = find_kernel()
    if isinstance(kernel, str):
        print(f"error: no kernel to measure: {kernel}", file=sys.stderr)
        return 1
    print("ours: packing, forward, weights, input | torch: forward, weights, input | torch, channels last: the same")
    for frames, inputs, outputs, size, padding, side in LAYERS:
        torch.manual_seed(0)
        plain = (torch.rand(frames, inputs, side, side) < 0.2).float()
        last = plain.contiguous(memory_format=torch.channels_last)
        weight = torch.randn(outputs, inputs, size, size, requires_grad=True)
        times = (
            ours(kernel, last, weight, padding, rounds),
            *(by_torch(x, weight, padding, rounds) for x in (plain, last)),
        )
        texts = [" ".join(f"{ms:6.1f}" for ms in row) for row in times]
        print(f"{frames} frames, {inputs} -> {outputs}, {size}x{size}, side {side}: " + " | ".join(texts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
