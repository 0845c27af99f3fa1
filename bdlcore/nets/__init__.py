"""Networks that evaluate a whole stack of weights at once, and what they must answer (`bdlcore.nets.protocol`).

Each is an ordinary `nn.Module` for a single setting of its weights. No network here uses BatchNorm: with it the
prediction for one datum depends on the others in the batch, and there is no likelihood p(y | x, w) to speak of.
"""

from .activations import ACTIVATIONS
from .cnn import CNN, cnn
from .generators import Hourglass, Pixels, hourglass, paper_hourglass
from .low_rank import low_rank
from .mlp import MLP, mlp
from .protocol import Network, StackedModule

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "MLP",
    "Hourglass",
    "Network",
    "Pixels",
    "StackedModule",
    "cnn",
    "hourglass",
    "low_rank",
    "mlp",
    "paper_hourglass",
]
