"""The circuit of a trained logic network in its place: the same logits as in hard mode, by the fast evaluator."""

import torch
from torch import Tensor, nn

from difflogic_tonic.models.discretise import to_netlist
from difflogic_tonic.models.encoding import BinaryFrames
from difflogic_tonic.netlist.engine import Engine
from difflogic_tonic.nets.logic import RecurrentLogicNetwork


class CircuitNetwork(nn.Module):
    """Bits [B, ...] ([T, B, ...] with a state) on the CPU to logits float32[B, classes], equal to the last bit.

    `readout` is that of a recurrent network. Packed bits are taken where there is no state.
    """

    def __init__(self, engine: Engine, readout: str) -> None:
        super().__init__()
        self.engine = engine
        self.readout = readout

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, packed: bool = False) -> Tensor:
        tau = torch.tensor(self.engine.netlist.tau, dtype=torch.float32)
        if self.readout == "frame":
            scores = self.engine.scores(x.flatten(1).numpy(), "packed" if packed else "bytes")
            return torch.from_numpy(scores).float() / tau
        logits = torch.from_numpy(self.engine.step_scores(x.flatten(2).numpy())).float() / tau
        n_steps = torch.full((x.shape[1],), len(x)) if lengths is None else lengths.cpu()
        if self.readout == "last":
            return logits[n_steps - 1, torch.arange(x.shape[1])]
        total = torch.zeros_like(logits[0])
        for t, step in enumerate(logits):  # in this order, like the network: sums of floats depend on it
            total = total + torch.where((t < n_steps).unsqueeze(1), step, 0.0)
        return total / n_steps.unsqueeze(1).float()


def as_circuit(model: BinaryFrames) -> BinaryFrames:
    """`model` with its circuit instead of the network. ConfigError where it holds no logic network."""
    network = model.network
    readout = network.readout if isinstance(network, RecurrentLogicNetwork) else "frame"
    engine = Engine(to_netlist(model), threads=torch.get_num_threads())
    return BinaryFrames(CircuitNetwork(engine, readout), model.encoder, sequence=model.sequence)
