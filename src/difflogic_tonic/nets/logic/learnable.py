"""Wiring that is learned: each input of a neuron chooses among a few candidates (after arXiv 2511.12340).

A neuron's two inputs have k candidates each, drawn once, and k trained logits. While it is soft, an input is the mean
of its candidates, weighted by the softmax of the logits; in hard mode it is the likeliest candidate, so the network is
then one of plain layers and runs on the kernels for those.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic.gates import bilinear
from difflogic_tonic.nets.logic.layer import LogicLayer
from difflogic_tonic.nets.logic.learnable_cpu import Kernel, choose_layer, find_kernel
from difflogic_tonic.nets.logic.wiring import Place, check_wiring, random_wiring, unique_wiring
from difflogic_tonic.nets.moment import generator_for

FIRST_LOGIT = 3.0
"""Start of the first candidate's logit above the others': at equal odds an input starts as the mean of all candidates,
which is nearly the same for every input and tells them apart too late."""


class LearnableLayer(LogicLayer):
    """A LogicLayer whose inputs are chosen in training: [in_features, batch] -> [n, batch], values in [0, 1].

    `candidates` int32[2, n, k] is a buffer, `wiring_logits` float32[2, n, k] is trained. `wiring` is the choice as it
    stands, int32[2, n]. Estimators and temperature act on the choice as they do on the gate.
    """

    candidates: Tensor
    _chosen: Tensor

    def __init__(self, in_features: int, candidates: Tensor, **options: Any) -> None:
        assert candidates.dim() == 3, candidates.shape
        super().__init__(in_features, candidates[:, :, 0], **options)
        self.register_buffer("candidates", candidates)
        self.wiring_logits = nn.Parameter(torch.zeros(candidates.shape))
        with torch.no_grad():
            self.wiring_logits[:, :, 0] = FIRST_LOGIT
        self._readers: tuple[object, Readers, Tensor] | None = None

    def _connect(self, wiring: Tensor) -> None:
        # a buffer of its own, written in place: kernels know a wiring by where it lies and how often it was written to
        self.register_buffer("_chosen", wiring.clone(), persistent=False)

    @property
    def wiring(self) -> Tensor:  # type: ignore[override]  # a buffer there
        """int32[2, n]: the likeliest candidates, as of now."""
        with torch.no_grad():
            best = self.wiring_logits.argmax(-1, keepdim=True)
            chosen = self.candidates.gather(-1, best).squeeze(-1)
            if not torch.equal(chosen, self._chosen):
                self._chosen.copy_(chosen)
        return self._chosen

    @property
    def has_fixed_wiring(self) -> bool:
        return self.hard

    def check_inputs(self) -> None:
        check_wiring(self.candidates, self.in_features)

    def choices(self) -> Tensor:
        """float[2, n, k]: the weights of the candidates in one forward pass, by mode and estimator; they sum to 1."""
        logits: Tensor = self.wiring_logits
        straight_through = self.training and self.estimator != "soft"
        if straight_through and self.estimator == "gumbel":
            logits = logits - torch.empty_like(logits).exponential_(generator=generator_for(logits.device)).log()
        by_candidate = (logits / self.temperature).flatten(0, 1).t()
        # along the first axis: along a last one of eight, torch is five times as slow
        soft = torch.softmax(by_candidate, 0).t().reshape(logits.shape)
        if not straight_through:
            return soft
        hard = F.one_hot(logits.argmax(-1), logits.shape[-1]).to(soft.dtype)
        return hard + (soft - soft.detach())

    def forward(self, x: Tensor, coefficients: Tensor | None = None, backend: str = "eager") -> Tensor:
        if self.hard:
            return super().forward(x, coefficients)
        weights, readers = self.choices(), self._transposed()
        gates = self.coefficients() if coefficients is None else coefficients
        kernel = find_choose_kernel(backend, x)
        if kernel is not None:
            return choose_layer(kernel, x, self.candidates, weights, gates)
        a, b = mix(x, self.candidates.flatten(0, 1), weights.flatten(0, 1), readers).chunk(2)
        return bilinear(gates, a, b)

    def plain(self) -> LogicLayer:
        """The layer with its choice made for good: same gates, same state but for the candidates."""
        layer = LogicLayer(
            self.in_features,
            self.wiring.clone(),
            parametrization=self.parametrization,
            estimator=self.estimator,
            generator=torch.Generator(),
        )
        layer.weight = nn.Parameter(self.weight.detach().clone())
        layer.hard, layer.temperature = self.hard, self.temperature
        return layer.train(self.training)

    def _transposed(self) -> "Readers":
        stamp = (self.candidates.data_ptr(), self.candidates._version, self.candidates.device)
        if self._readers is None or self._readers[0] != stamp:
            self.check_inputs()  # a state may have been loaded
            readers = readers_of(self.candidates.flatten(0, 1), self.in_features)
            self._readers = (stamp, readers, self.candidates)  # kept alive, so that its place stays its own
        return self._readers[1]


def find_choose_kernel(backend: str, x: Tensor) -> Kernel | None:
    """The C kernel for values x [in_features, batch], None for plain torch. ConfigError where `cpu` cannot be had."""
    fits = x.is_cpu and x.dtype == torch.float32 and x.shape[1] > 0
    if backend == "eager" or (backend == "auto" and not fits):
        return None
    found = find_kernel() if fits else f"values are {x.dtype} on {x.device}"
    if isinstance(found, Kernel):
        return found
    if backend == "auto":
        return None
    raise ConfigError(f"backend {backend} with learnable wiring: {found}; backend auto falls back to plain torch")


def freeze_wiring(model: nn.Module) -> None:
    """Replace every LearnableLayer in `model` by a plain one with the wiring that it has chosen.

    Hard results do not change. Optimizers have to be made anew: the weights are new parameters.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LearnableLayer):
                setattr(module, name, child.plain())


def draw_candidates(k: int, place: Place, generator: torch.Generator) -> Tensor:
    """int32[2, n, k]. The first candidates are a unique wiring, so every input is in reach from the start.

    The others use all inputs equally often; two of the candidates of an input may be the same.
    """
    first = unique_wiring(place, generator)
    pairs = Place(place.in_features, place.neurons * (k - 1))
    others = random_wiring(pairs, generator).reshape(2, place.neurons, k - 1)
    return torch.cat((first.unsqueeze(-1), others), -1)


class Readers(NamedTuple):
    """For each row of x the bag of entries that read it: `rows` and `entries` int64[m * k], `starts` int64[in]."""

    rows: Tensor
    entries: Tensor
    starts: Tensor


def readers_of(index: Tensor, in_features: int) -> Readers:
    """The transpose of an index [m, k] into `in_features` rows."""
    flat = index.flatten().long()
    entries = torch.argsort(flat, stable=True)
    counts = torch.bincount(flat, minlength=in_features)
    return Readers(entries // index.shape[1], entries, counts.cumsum(0) - counts)


def mix(x: Tensor, index: Tensor, weights: Tensor, readers: Readers) -> Tensor:
    """y[i] = sum over j of weights[i, j] x[index[i, j]]: x [in, batch], index and weights [m, k] -> [m, batch].

    Differentiable once in x and weights. Nothing of size m k batch is made: all three passes are sums over bags of
    rows, each in an order of its own that does not depend on the number of threads.
    """
    if x.shape[1] == 0:
        return weights @ x.new_zeros(weights.shape[1], 0)
    mixed: Tensor = _Mix.apply(x, index, weights, readers)
    return mixed


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, weights: Tensor, readers: Readers) -> Tensor:
        x, weights = x.detach().contiguous(), weights.detach().contiguous()
        ctx.save_for_backward(x, index, weights)
        ctx.readers = readers
        return F.embedding_bag(index, x, mode="sum", per_sample_weights=weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, index, weights = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = None
        if ctx.needs_input_grad[0]:
            rows, entries, starts = ctx.readers
            grad_x = F.embedding_bag(rows, grad, starts, mode="sum", per_sample_weights=weights.flatten()[entries])
        return grad_x, None, _weight_gradient(x, index, weights, grad), None


def _weight_gradient(x: Tensor, index: Tensor, weights: Tensor, grad: Tensor) -> Tensor:
    """[m, k]: the products of grad[i] with x[index[i, j]]."""
    with torch.enable_grad():
        weights = weights.detach().requires_grad_()
        again = F.embedding_bag(index, x, mode="sum", per_sample_weights=weights)
        (result,) = torch.autograd.grad(again, weights, grad)
    return result
