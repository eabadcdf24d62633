"""From a config to a network: the table of model types, weights of one's own, and what a network costs.

| module    | what it holds                                     |
|-----------|---------------------------------------------------|
| `table`   | `model_type` → builder, and the view it needs     |
| `encoding`| the bits that a logic network sees                |
| `calling` | a batch into a network                            |
| `own`     | spiking networks of one's own                     |
| `weights` | loading weights from a file into a network        |
| `cost`    | parameters, multiplications, gates                |
| `discretise` | the circuit that a logic network becomes       |
| `circuit` | that circuit in place of the network              |
"""

from difflogic_tonic.models.calling import logits
from difflogic_tonic.models.cost import describe
from difflogic_tonic.models.table import TABLE, build, default_view
from difflogic_tonic.models.weights import check_weights_file, load_weights

__all__ = ["TABLE", "build", "check_weights_file", "default_view", "describe", "load_weights", "logits"]
