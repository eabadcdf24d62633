"""Whether Triton can be used on a device."""

import subprocess

import torch

OLDEST_GPU = (8, 0)
"""Compute capability; for older ones Triton promises nothing."""


def why_no_triton(kind: str, index: int | None) -> str | None:
    """Why Triton's kernels cannot run on that device ("cuda", 0), or None where they can.

    With TRITON_INTERPRET=1 they run on a CPU too, thousands of times slower: that is for tests.
    """
    try:
        import triton
    except ImportError as error:
        return f"triton cannot be imported: {error}"
    if triton.knobs.runtime.interpret:
        return None
    if kind != "cuda":
        return f"Triton kernels need a CUDA device, not {kind}"
    capability = torch.cuda.get_device_capability(index)
    if capability < OLDEST_GPU:
        return f"Triton needs compute capability 8.0, {torch.cuda.get_device_name(index)} has {capability}"
    try:
        triton.runtime.driver.active.get_current_target()  # builds its driver with the C compiler, which may lack
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        return f"Triton does not start: {' '.join(str(error).split())}"
    return None
