"""Event-camera classification with differentiable logic gate networks, CNNs, MLPs and spiking networks."""

__version__ = "0.1.0"
