"""Batch normalisation with the statistics of a batch that several processes share.

torch's SyncBatchNorm does the same on CUDA only. This one asks the step it is in (`moment`) for its sums, so it also
works with gloo, with parts of unequal size, and with one that holds a sample which counts nothing. Where nobody shares
the step it is torch's own.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from difflogic_tonic.nets.moment import Moment, now

KINDS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def is_shared() -> bool:
    """Whether other processes see other samples of the same batch now."""
    at = now()
    return at is not None and at.collective is not None


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`nn.BatchNorm1d`, `2d` and `3d` over all parts of a batch: [B, C, ...] to the same."""

    n_values: Tensor | None = None
    """How many values a channel had in the last call, in all parts; None if that was not shared."""

    def forward(self, input: Tensor) -> Tensor:
        at = now()
        if not self.training or at is None or at.collective is None:
            self.n_values = None
            return super().forward(input)
        out, mean, variance, n = _Normalise.apply(input, self.weight, self.bias, self.eps, at)
        self.n_values = n
        self._learn(mean, variance, n)
        return out

    @torch.no_grad()
    def _learn(self, mean: Tensor, variance: Tensor, n: Tensor) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.mul_(1 - share).add_(mean, alpha=share)
        self.running_var.mul_(1 - share).add_(variance * (n / (n - 1).clamp(min=1)), alpha=share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes: that of the module which this one stands for was checked there."""


def share_batch_norm(model: nn.Module) -> None:
    """Let every batch normalisation within `model` share its statistics. Parameters, buffers and keys stay theirs."""
    for name, child in model.named_children():
        if type(child) in KINDS:
            made = SharedBatchNorm(1)
            made.__dict__.update(child.__dict__)
            setattr(model, name, made)
        else:
            share_batch_norm(child)


class _Normalise(torch.autograd.Function):
    """y = (x - mean) / sqrt(variance + eps) · weight + bias, mean and variance over all parts (Ioffe, Szegedy 2015).

    Mean and variance of the parts become those of the whole as in Chan, Golub, LeVeque 1983, so that one exchange is
    enough. Of weight and bias the gradient is that of the own part: whoever sums gradients over processes sums these.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, at: Moment) -> Any:
        assert at.collective is not None
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        variance, mean = torch.var_mean(values, _others(x), correction=0)
        count = values.numel() // len(mean) if at.own else 0
        parts = at.collective.gather(torch.cat((mean, variance, mean.new_full((1,), count))))
        means, variances, counts = parts.split([len(mean), len(mean), 1], 1)
        n = counts.sum()
        mean = (means * counts).sum(0) / n
        variance = ((variances + (means - mean).square()) * counts).sum(0) / n
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), n)
        ctx.at = at
        ctx.mark_non_differentiable(mean, variance, n)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance, n

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, n = ctx.saved_tensors
        shape = [1, -1] + [1] * (x.dim() - 2)
        dy = grad.to(mean.dtype)
        centred = x.to(mean.dtype) - mean.view(shape)
        own = torch.cat((dy.sum(_others(x)), (dy * centred).sum(_others(x))))
        whole = own.clone()
        ctx.at.collective.add(whole)
        offset, slope = (whole / n).chunk(2)
        gain = scale if weight is None else scale * weight
        dx = dy
        if ctx.at.own:  # what counts nothing has moved no mean
            dx = dy - offset.view(shape) - centred * (slope * scale.square()).view(shape)
        d_bias, d_weight = own.chunk(2)
        return (
            (dx * gain.view(shape)).to(x.dtype) if ctx.needs_input_grad[0] else None,
            d_weight * scale if ctx.needs_input_grad[1] else None,
            d_bias if ctx.needs_input_grad[2] else None,
            None,
            None,
        )


def _others(x: Tensor) -> list[int]:
    """All axes but that of the channels."""
    return [0, *range(2, x.dim())]
