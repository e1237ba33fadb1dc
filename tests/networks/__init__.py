"""Small networks, each with a diagram and the channel groups that a trace must find in it.

Every network is a function that builds it, registered with its groups. The tests of the graph run
over all of them: add one for every new kind of layer, and for every way to join layers.
"""

# Each of the first line registers its own.
from tests.networks import chains, frozen, joined, moving, nested  # noqa: F401
from tests.networks.frozen import Twice
from tests.networks.parts import NETWORKS, Network, conv, head, image, norm, unit

__all__ = ["NETWORKS", "Network", "Twice", "conv", "head", "image", "norm", "unit"]
