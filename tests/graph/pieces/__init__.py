"""What random networks are made of: each piece makes a tensor from one or two others.

A piece is a function of the kit, two tensors, a width and a name.
"""

from tests.graph.pieces.composites import COMPOSITES
from tests.graph.pieces.plain import PLAIN
from tests.graph.pieces.wiring import WIRING

PIECES = {**PLAIN, **WIRING, **COMPOSITES}
#: Pieces that do not exist for some images: replaced by a convolution there.
LACKING = {
    "depthwise": lambda kit: kit.rank > 2,
    "separable": lambda kit: kit.rank > 2,
    "grouped": lambda kit: kit.first,
    # Keras scales along the last axis, whatever `axis` says.
    "rms norm": lambda kit: kit.first,
    "pixel shuffle": lambda kit: kit.rank != 2 or kit.first,
    "shuffle by hand": lambda kit: kit.rank != 2 or kit.first,
    **dict.fromkeys(
        ("generator", "tokens mixed", "einsum attention", "einsum heads", "heads by hand"),
        lambda kit: kit.first,
    ),
}
