"""Small networks, each with a diagram and the channel groups that a trace must find in it.

Every network is a function that builds it, registered with its groups. The tests of the graph run
over all of them: add one for every new kind of layer, and for every way to join layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import keras
from keras import layers, ops


@dataclasses.dataclass(frozen=True)
class Network:
    """A small network and what a trace must find in it.

    Attributes:
        build: Builds the model.
        prunable: Maps the names of the prunable groups to their sizes.
        frozen: Maps the names of the other groups to (size, part of the reason).
        unknown: Maps the names of the operations that no rule knows to their class names.
        tolerance: How far outputs may be apart, relative to 1 + the largest output.
        keeps_zero: Whether a channel that is made as zero arrives as zero at its consumers.
        sized: Whether the image size is fixed, so that the cost is known.
        maskable: Whether masking a channel is the same as removing it.
        regroups: Whether the pruned network has other groups, those of grouped layers.
    """

    build: Callable[[], keras.Model]
    prunable: Mapping[str, int]
    frozen: Mapping[str, tuple[int, str]]
    unknown: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerance: float = 1e-4
    keeps_zero: bool = True
    sized: bool = True
    maskable: bool = True
    regroups: bool = False


NETWORKS: dict[str, Network] = {}
HEAD = {"head": (3, "model output")}


def network(prunable, frozen=None, **options):
    def register(build):
        groups = HEAD if frozen is None else frozen
        NETWORKS[build.__name__] = Network(build, prunable, groups, **options)
        return build

    return register


def image(*shape):
    return keras.Input(shape or (6, 6, 2), name="image")


def conv(filters, name, kernel_size=3, **options):
    return layers.Conv2D(filters, kernel_size, padding="same", name=name, **options)


def norm(name, **options):
    return layers.BatchNormalization(name=name, **options)


def unit(x, filters, name, kernel_size=3, **options):
    """Convolution without bias, batch norm, ReLU."""
    x = conv(filters, f"{name}_conv", kernel_size, use_bias=False, **options)(x)
    return layers.ReLU(name=f"{name}_relu")(norm(f"{name}_bn")(x))


def head(x):
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Dense(3, name="head")(x)


# Plain chains.


@network({"a_conv": 4, "b": 6})
def chain():
    """
    image - a: conv bn relu - b - bn - relu - pool - head
    """
    inputs = image()
    x = unit(inputs, 4, "a")
    x = layers.ReLU(name="relu")(norm("b_bn")(conv(6, "b")(x)))
    return keras.Model(inputs, head(x), name="chain")


@network({"a_conv": 4, "b_conv": 5, "c": 6})
def vgg():
    """
    image 6x6 - a - max pool - b - flatten 3x3 - dense c - head

    Every channel of b holds nine inputs of c.
    """
    inputs = image()
    x = unit(inputs, 4, "a")
    x = unit(layers.MaxPooling2D(2, name="pool")(x), 5, "b")
    x = layers.Dense(6, activation="relu", name="c")(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="vgg")


@network({"a": 4, "b": 5}, {"head": (3, "softmax")})
def sequential():
    """
    Sequential: a - bn - relu - pool - dropout - flatten - dense b - head with softmax
    """
    return keras.Sequential(
        [
            image(),
            conv(4, "a"),
            norm("bn"),
            layers.ReLU(name="relu"),
            layers.AveragePooling2D(2, name="pool"),
            layers.Dropout(0.3, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(5, name="b"),
            layers.Dense(3, activation="softmax", name="head"),
        ],
        name="sequential",
    )


@network({"a": 4, "b": 4, "c": 4})
def conv1d():
    """
    series [8, 2] - a, stride 2 - bn - max pool - b, dilated - depthwise x2 - c - flatten - head
    """
    inputs = keras.Input((8, 2), name="series")
    x = norm("a_bn")(layers.Conv1D(4, 3, strides=2, padding="same", name="a")(inputs))
    x = layers.MaxPooling1D(2, strides=1, name="max")(x)
    x = layers.Conv1D(4, 2, dilation_rate=2, activation="relu", name="b")(x)
    x = layers.DepthwiseConv1D(1, depth_multiplier=2, name="depthwise")(x)
    x = layers.Flatten(name="flatten")(layers.Conv1D(4, 1, name="c")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="conv1d")


@network({"a": 4, "b": 3})
def conv3d():
    """
    volume [5, 5, 5, 2] - a - bn - average pool - b - global max pool - head
    """
    inputs = keras.Input((5, 5, 5, 2), name="volume")
    x = norm("a_bn")(layers.Conv3D(4, 3, name="a")(inputs))
    x = layers.AveragePooling3D(2, strides=1, name="average")(x)
    x = layers.GlobalMaxPooling3D(name="pool")(layers.Conv3D(3, 2, name="b")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="conv3d")


@network({"a": 6, "b": 5})
def dense_sequence():
    """
    series [5, 4] - dense a - dense b - head, each applied to every step
    """
    inputs = keras.Input((5, 4), name="series")
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    x = layers.Dense(5, activation="tanh", name="b")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="dense_sequence")


@network({"a": 4, "b": 5})
def spatial():
    """
    image - a - upsample - crop - zero pad - average pool - spatial dropout - b - global max - head
    """
    inputs = image()
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up")(conv(4, "a")(inputs))
    x = layers.ZeroPadding2D(2, name="pad")(layers.Cropping2D(1, name="crop")(x))
    x = layers.SpatialDropout2D(0.2, name="dropout")(layers.AveragePooling2D(2, name="mean")(x))
    x = layers.GlobalMaxPooling2D(name="pool")(conv(5, "b")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="spatial")


@network({"a": 4, "b": 5}, sized=False)
def open_size():
    """
    image of any size - a, stride 2 - bn - every second pixel - b - pool - head
    """
    inputs = image(None, None, 3)
    x = norm("bn")(conv(4, "a", strides=2)(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x[:, ::2, ::2, :])), name="open_size")


@network({"a": 4, "b": 5})
def not_trainable():
    """
    image - a, not trainable - bn, not trainable - b - pool - head
    """
    inputs = image()
    x = norm("bn", trainable=False)(conv(4, "a", trainable=False)(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x)), name="not_trainable")


@network({"a": 4, "b": 5}, tolerance=3e-2)
def half_precision():
    """
    image - a - bn - relu - depthwise - b - bn - added to itself - pool - head

    Computed in bfloat16, weights in float32.
    """
    half = {"dtype": "mixed_bfloat16"}
    inputs = image()
    x = conv(4, "a", **half)(inputs)
    x = layers.ReLU(name="relu", **half)(norm("a_bn", **half)(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise", **half)(x)
    x = norm("bn", **half)(conv(5, "b", 1, **half)(x))
    x = layers.GlobalAveragePooling2D(name="pool", **half)(layers.Add(name="add", **half)([x, x]))
    return keras.Model(inputs, layers.Dense(3, name="head", **half)(x), name="half_precision")


# Residual connections.


@network({"stem_conv": 4, "one_conv": 5, "two": 3, "three_conv": 6})
def residual_a():
    """
    image - stem -+- one - conv - bn ---------------------- add - relu -+- three - four - bn - add
                  +- every second pixel - pad channels 1, 2 -+          +--------------------- +

    The stem's four channels live on in the second stage, as channels 1 to 4 of seven; the other
    three are added by `two`.
    """
    inputs = image()
    x = unit(inputs, 4, "stem")
    y = unit(x, 5, "one", strides=2)
    y = norm("two_bn")(conv(7, "two", use_bias=False)(y))
    shortcut = ops.pad(x[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [1, 2]])
    x = layers.ReLU(name="relu")(layers.Add(name="add")([y, shortcut]))
    y = norm("four_bn")(conv(7, "four", use_bias=False)(unit(x, 6, "three")))
    return keras.Model(inputs, head(layers.Add(name="add2")([x, y])), name="residual_a")


@network({"stem_conv": 4, "one_conv": 5, "project": 6})
def residual_b():
    """
    image - stem -+- one - two - bn ----- add - relu - pool - head
                  +- project - bn --------+
    """
    inputs = image()
    x = unit(inputs, 4, "stem")
    y = norm("two_bn")(conv(6, "two", use_bias=False)(unit(x, 5, "one", strides=2)))
    x = norm("project_bn")(conv(6, "project", 1, strides=2, use_bias=False)(x))
    x = layers.ReLU(name="relu")(layers.Add(name="add")([y, x]))
    return keras.Model(inputs, head(x), name="residual_b")


@network({"expand_conv": 6, "stem_conv": 3})
def inverted_residual():
    """
    image - stem -+- expand 1x1 - depthwise - bn - relu6 - project 1x1 - bn - add - pool - head
                  +-----------------------------------------------------------+
    """
    inputs = image()
    x = unit(inputs, 3, "stem")
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(
        unit(x, 6, "expand", 1)
    )
    y = layers.Activation("relu6", name="relu6")(norm("depthwise_bn")(y))
    y = norm("project_bn")(conv(3, "project", 1, use_bias=False)(y))
    return keras.Model(inputs, head(layers.Add(name="add")([x, y])), name="inverted_residual")


@network({"stem_conv": 3, "pointwise": 5})
def depthwise():
    """
    image - stem - depthwise x2 - bn - relu - pointwise - bn - relu - pool - head

    Each stem channel has two depthwise channels, side by side, that stay or go with it.
    """
    inputs = image()
    x = unit(inputs, 3, "stem")
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = layers.ReLU(name="depthwise_relu")(norm("depthwise_bn")(x))
    x = layers.ReLU(name="relu")(norm("pointwise_bn")(conv(5, "pointwise", 1)(x)))
    return keras.Model(inputs, head(x), name="depthwise")


@network({"pointwise": 5})
def depthwise_of_input():
    """
    image - depthwise x2 - bn - pointwise - pool - head

    The depthwise channels are the image's.
    """
    inputs = image()
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(inputs)
    x = conv(5, "pointwise", 1)(norm("bn")(x))
    return keras.Model(inputs, head(x), name="depthwise_of_input")


@network({"b": 4})
def add_three():
    """
    image -+- a -+
           +- b -+- add - average with a - maximum with b - pool - head
           +- c -+
    """
    inputs = image()
    a, b, c = (conv(4, name)(inputs) for name in "abc")
    x = layers.Average(name="average")([layers.Add(name="add")([a, b, c]), a])
    return keras.Model(inputs, head(layers.Maximum(name="max")([x, b])), name="add_three")


@network({"a": 4, "c": 5}, {"b": (2, "joined with a model input"), **HEAD})
def added_to_input():
    """
    image -+- a - b - add - c - pool - head
           +----------+
    """
    inputs = image()
    x = conv(2, "b")(conv(4, "a")(inputs))
    x = conv(5, "c")(layers.Add(name="add")([x, inputs]))
    return keras.Model(inputs, head(x), name="added_to_input")


# Concatenation.


@network({"a_conv": 3, "b_conv": 4, "c": 5, "d": 6})
def concatenated():
    """
    image -+- a -+- [a b] - c - bn -+
           +- b -+- [b a] - d - bn -+- [c d a] - pool - head
    """
    inputs = image()
    a, b = unit(inputs, 3, "a"), unit(inputs, 4, "b")
    c = norm("c_bn")(conv(5, "c")(layers.Concatenate(name="ab")([a, b])))
    d = norm("d_bn")(conv(6, "d")(layers.Concatenate(name="ba")([b, a])))
    return keras.Model(inputs, head(ops.concatenate([c, d, a], axis=-1)), name="concatenated")


@network({"a": 3, "b": 4})
def concatenated_and_added():
    """
    image -+- a -+- [a b] - bn - add - pool - head
           +- b -+               |
           +- c -----------------+

    The channels of c are those of a, then those of b.
    """
    inputs = image()
    a, b, c = conv(3, "a")(inputs), conv(4, "b")(inputs), conv(7, "c")(inputs)
    x = norm("bn")(layers.Concatenate(name="ab")([a, b]))
    return keras.Model(inputs, head(layers.Add(name="add")([x, c])), name="concat_and_add")


@network({"a": 3, "b": 4, "c": 5})
def flattened_and_concatenated():
    """
    image -+- a - flatten -+-----------+
           |               +- dense c -+- [a c b a] - head
           +- b - flatten -------------+
    """
    inputs = image(4, 4, 2)
    a = layers.Flatten(name="a_flat")(conv(3, "a")(inputs))
    b = layers.Flatten(name="b_flat")(layers.Conv2D(4, 3, name="b")(inputs))
    c = layers.Dense(5, name="c")(a)
    x = layers.Concatenate(name="join")([a, c, b, a])
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="flattened")


@network({"a": 4, "b": 5})
def concatenated_in_height():
    """
    image -+- a1 -+- [a1; a2] along the height - b - pool - head
           +- a2 -+
    """
    inputs = image()
    a = [conv(4, name)(inputs) for name in ("a", "a2")]
    x = conv(5, "b")(layers.Concatenate(axis=1, name="join")(a))
    return keras.Model(inputs, head(x), name="concatenated_in_height")


# Gates and other elementwise operations.


@network({"a_conv": 6, "squeeze": 2})
def squeeze_excite():
    """
    image - a -+- pool - reshape 1x1 - squeeze - excite (sigmoid) - multiply - pool - head
               +-----------------------------------------------------+
    """
    inputs = image()
    x = unit(inputs, 6, "a")
    gate = layers.Reshape((1, 1, 6), name="reshape")(layers.GlobalAveragePooling2D(name="mean")(x))
    gate = conv(2, "squeeze", 1, activation="relu")(gate)
    gate = conv(6, "excite", 1, activation="sigmoid")(gate)
    return keras.Model(inputs, head(layers.Multiply(name="scale")([x, gate])), name="squeeze")


@network({"a_conv": 6, "squeeze": 2})
def squeeze_excite_dense():
    """
    image - a -+- pool - dense squeeze - dense excite - reshape 1x1 - multiply - pool - head
               +------------------------------------------------------+
    """
    inputs = image()
    x = unit(inputs, 6, "a")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    gate = layers.Dense(2, activation="relu", name="squeeze")(layers.Flatten(name="flat")(gate))
    gate = layers.Dense(6, activation="hard_sigmoid", name="excite")(gate)
    x = x * layers.Reshape((1, 1, -1), name="reshape")(gate)
    return keras.Model(inputs, head(x), name="squeeze_excite_dense")


@network(
    {"b": 5, "c": 4},
    {"a": (4, "(Mean)"), "map": (1, "spreads one channel over all others"), **HEAD},
)
def spatial_attention():
    """
    image -+- a - mean over channels - map (sigmoid) -+
           +- b --------------------------------- multiply - c - pool - head
    """
    inputs = image()
    x = ops.mean(conv(4, "a")(inputs), axis=-1, keepdims=True)
    x = conv(5, "b")(inputs) * conv(1, "map", activation="sigmoid")(x)
    return keras.Model(inputs, head(conv(4, "c")(x)), name="spatial_attention")


@network({"b": 4})
def operators():
    """
    image -+- a -+- (a + 2 b) a / 3 - negative - maximum with 0 - leaky ReLU - pool - head
           +- b -+
    """
    inputs = image()
    a, b = conv(4, "a")(inputs), conv(4, "b")(inputs)
    x = ops.maximum(-((a + b * 2.0) * a / 3.0), 0.0)
    return keras.Model(inputs, head(ops.leaky_relu(x) - b), name="operators")


@network({"a": 4}, keeps_zero=False)
def shifted():
    """
    image - a - 2 - x - 1 / (1 + x x) - rescale and shift - pool - head
    """
    inputs = image()
    x = 2.0 - conv(4, "a")(inputs)
    x = layers.Rescaling(0.5, offset=0.1, name="rescale")(1.0 / (x * x + 1.0))
    return keras.Model(inputs, head(x), name="shifted")


@network({"a": 2, "a:2": 1, "b": 5})
def mirrored():
    """
    image - a -+----------------- add - b - reverse channels - pool - head
               +- reverse channels +

    The first of a's five channels is coupled with the last, the second with the fourth.
    """
    inputs = image()
    x = conv(5, "a")(inputs)
    x = conv(5, "b")(layers.Add(name="add")([x, x[..., ::-1]]))
    return keras.Model(inputs, head(x[..., ::-1]), name="mirrored")


# Moving positions about.


@network({"a": 6, "b": 5, "c": 4})
def reshaped():
    """
    image 4x4 - a - reshape to 16 steps - dense b - back to 4x4 - c - reshape to [4, 16] - flatten
    - head
    """
    inputs = image(4, 4, 2)
    x = layers.Dense(5, name="b")(layers.Reshape((16, 6), name="steps")(conv(6, "a")(inputs)))
    x = conv(4, "c")(ops.reshape(x, (-1, 4, 4, 5)))
    x = layers.Flatten(name="flatten")(layers.Reshape((4, 16), name="rows")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="reshaped")


@network({"a": 5, "b": 4})
def permuted():
    """
    image 4x6 - a - channels first - channels last - b - channels first - flatten - head
    """
    inputs = image(4, 6, 2)
    x = layers.Permute((3, 1, 2), name="first")(conv(5, "a")(inputs))
    x = conv(4, "b")(ops.transpose(x, (0, 2, 3, 1)))
    x = layers.Flatten(name="flatten")(layers.Permute((3, 2, 1), name="again")(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="permuted")


@network({"a": 5, "b": 4})
def whole_slices():
    """
    image - a - the last two rows, all channels by number - b - last four channels - pool - squeeze
    - head
    """
    inputs = image()
    x = conv(5, "a")(inputs)[:, -2:, ::2, 0:5]
    x = layers.GlobalAveragePooling2D(name="pool")(conv(4, "b")(x)[..., -4:])
    x = ops.squeeze(x[:, None, :], axis=-2)
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="whole_slices")


@network({"a": 2, "a:2": 1, "a:3": 2, "b": 4, "c": 4})
def overlapping_slices():
    """
    image - a -+- the first three channels - b -+
               +- the last three channels -- c -+- [b c] - pool - head

    The one of a's five channels that both see is a group of its own.
    """
    inputs = image()
    x = conv(5, "a")(inputs)
    b, c = conv(4, "b")(x[..., :3]), conv(4, "c")(x[..., 2:])
    return keras.Model(inputs, head(layers.Concatenate(name="bc")([b, c])), name="overlapping")


@network({"a": 2, "a:2": 2, "b": 3})
def split():
    """
    image - a - split -+- b ---+
                       +-------+- concatenate - pool - head
    """
    inputs = image()
    left, right = ops.split(conv(4, "a")(inputs), 2, axis=-1)
    x = layers.Concatenate(name="join")([conv(3, "b")(left), right])
    return keras.Model(inputs, head(x), name="split")


@network({"a": 3, "b": 4}, regroups=True)
def shuffled():
    """
    image - a - channels 0 1 2 3 4 5 to 0 3 1 4 2 5 - b - pool - head

    The shuffle lays six channels out as 2 x 3, so two by two they stay or go.
    """
    inputs = image()
    x = layers.Reshape((6, 6, 2, 3), name="rows")(conv(6, "a")(inputs))
    x = layers.Reshape((6, 6, 6), name="flat")(layers.Permute((1, 2, 4, 3), name="swap")(x))
    return keras.Model(inputs, head(conv(4, "b")(x)), name="shuffled")


# Other convolutions, and layers that see all channels.


@network({"a": 3, "grouped": 2}, regroups=True)
def grouped():
    """
    image - a - grouped, two groups of three to two channels - bn - pool - head

    The same channels of every group stay or go.
    """
    inputs = image()
    x = norm("bn")(conv(4, "grouped", groups=2)(conv(6, "a")(inputs)))
    return keras.Model(inputs, head(x), name="grouped")


@network({"a": 3}, regroups=True)
def grouped_whole():
    """
    image - a - grouped, three groups of two to two channels - bn - pool - head

    Whole groups stay or go.
    """
    inputs = image()
    x = norm("bn")(conv(6, "grouped", groups=3)(conv(6, "a")(inputs)))
    return keras.Model(inputs, head(x), name="grouped_whole")


@network({"a": 3, "separable": 5, "transposed": 4})
def other_convolutions():
    """
    image - a - separable x2 - bn - transposed, stride 2 - bn - pool - head
    """
    inputs = image()
    x = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="separable")(conv(3, "a")(inputs))
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="transposed")(norm("a_bn")(x))
    return keras.Model(inputs, head(norm("b_bn")(x)), name="other_convolutions")


@network({"a": 6, "b": 4}, maskable=False)
def layer_norm():
    """
    image - a - layer normalization - b - root mean square normalization - pool - head
    """
    inputs = image()
    x = layers.LayerNormalization(name="layer_norm")(conv(6, "a")(inputs))
    x = layers.RMSNormalization(name="rms_norm")(conv(4, "b")(x))
    return keras.Model(inputs, head(x), name="layer_norm")


@network({"a": 3, "b": 4}, maskable=False, regroups=True)
def group_norm():
    """
    image - a - two groups normalized - b - every channel normalized - pool - head
    """
    inputs = image()
    x = layers.GroupNormalization(2, name="group_norm")(conv(6, "a")(inputs))
    x = layers.GroupNormalization(-1, name="instance_norm")(conv(4, "b")(x))
    return keras.Model(inputs, head(x), name="group_norm")


@network({"a": 6, "attention": 2})
def attention():
    """
    series [5, 4] - a -+- attention, two heads - add - head
                       +--------------------------+
    """
    inputs = keras.Input((5, 4), name="series")
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    y = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.Add(name="add")([x, y])
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="attention")


@network({"a": 4, "b": 5})
def slopes():
    """
    image - a - PReLU, slopes for each position - b - PReLU, slopes for each channel - pool - head
    """
    inputs = image()
    x = layers.PReLU(name="a_prelu")(conv(4, "a")(inputs))
    x = layers.PReLU(shared_axes=(1, 2), name="b_prelu")(conv(5, "b")(x))
    return keras.Model(inputs, head(x), name="slopes")


# Shared and nested layers, several inputs and outputs.


@network({"a": 4})
def called_twice():
    """
    image - a - shared - bn - relu - shared - bn - pool - head

    The shared layer's outputs are its inputs, so they are one group with a's channels.
    """
    inputs = image()
    shared, bn = conv(4, "shared"), norm("bn")
    x = layers.ReLU(name="relu")(bn(shared(conv(4, "a")(inputs))))
    return keras.Model(inputs, head(bn(shared(x))), name="called_twice")


@network({"shared_conv": 4})
def siamese():
    """
    left  6x6 -+- shared conv - pool -+
               |                      +- difference - square - head
    right 8x8 -+- shared conv - pool -+
    """
    left, right = (keras.Input((n, n, 2), name=s) for n, s in ((6, "left"), (8, "right")))
    shared, pool = conv(4, "shared_conv"), layers.GlobalAveragePooling2D(name="pool")
    x = layers.Subtract(name="sub")([pool(shared(left)), pool(shared(right))])
    x = layers.Dense(3, name="head")(ops.square(x))
    return keras.Model([left, right], x, name="siamese")


@network({"b": 4})
def norm_of_two():
    """
    image -+- a - bn -+
           |          +- [a b] - pool - head
           +- b - bn -+

    Both batch norms are one layer, so a and b are one group.
    """
    inputs = image()
    bn = norm("bn")
    a, b = bn(conv(4, "a")(inputs)), bn(conv(4, "b")(inputs))
    return keras.Model(inputs, head(layers.Concatenate(name="ab")([a, b])), name="norm_of_two")


@network({"a": 4, "b": 5})
def not_foldable():
    """
    image - a with bias and ReLU - bn - b -+- bn - add - pool - head
                                           +------+
    """
    inputs = image()
    x = norm("a_bn")(conv(4, "a", activation="relu")(inputs))
    x = conv(5, "b")(x)
    x = layers.Add(name="add")([norm("b_bn")(x), x])
    return keras.Model(inputs, head(x), name="not_foldable")


@network({"a": 4, "b": 5, "c": 3})
def norms_without_weights():
    """
    image - a - bn without scale and offset - b - bn without scale - bn without offset - c - head
    """
    inputs = image()
    x = norm("a_bn", scale=False, center=False)(conv(4, "a")(inputs))
    x = norm("b_bn", scale=False)(conv(5, "b", use_bias=False)(x))
    x = conv(3, "c")(norm("b_bn2", center=False)(x))
    return keras.Model(inputs, head(x), name="norms_without_weights")


@network({"a": 4, "inner/b": 5, "tail/d": 3, "tail/e": 4})
def nested():
    """
    image - a - inner: ( b - bn - c ) - inner again - tail: Sequential( relu - d - e ) - head

    Called twice, the inner model must take what it gives: its c makes the channels of a.
    """
    x = start = keras.Input((6, 6, 4), name="start")
    for layer in (conv(5, "b"), norm("b_bn"), conv(4, "c")):
        x = layer(x)
    inner = keras.Model(start, x, name="inner")
    tail = keras.Sequential([layers.ReLU(name="relu"), conv(3, "d"), conv(4, "e")], name="tail")
    inputs = image()
    x = tail(inner(inner(conv(4, "a")(inputs))))
    return keras.Model(inputs, head(layers.Add(name="add")([x, x])), name="nested")


@network({"a": 3, "first/conv": 4, "second/conv": 5})
def same_names():
    """
    image - a - first: ( conv ) - second: ( conv ) - pool - head
    """

    def inner(name, channels, filters):
        start = keras.Input((6, 6, channels), name="start")
        return keras.Model(start, conv(filters, "conv")(start), name=name)

    inputs = image()
    x = inner("second", 4, 5)(inner("first", 3, 4)(conv(3, "a")(inputs)))
    return keras.Model(inputs, head(x), name="same_names")


@network({"a": 3, "inner/c": 4, "inner/d": 2})
def nested_of_dicts():
    """
    image -+- a -+                                 +- c -+
           |     +- inner: {"p", "q"} - subtract --+     +- [c d a] - pool - head
           +- b -+                                 +- d -+
    """
    p, q = (keras.Input((6, 6, 3), name=name) for name in "pq")
    x = layers.Subtract(name="sub")([p, q])
    inner = keras.Model({"p": p, "q": q}, [conv(4, "c")(x), conv(2, "d")(x)], name="inner")
    inputs = image()
    a, b = conv(3, "a")(inputs), conv(3, "b")(inputs)
    c, d = inner({"q": a, "p": b})
    return keras.Model(inputs, head(layers.Concatenate(name="join")([c, d, a])), name="dicts")


@network(
    {"left": 4},
    {"head": (3, "model output"), "other": (2, "model output")},
)
def dicts():
    """
    {"y": 6x6x2} - left --+- add - pool - head       -> {"p": head,
    {"x": 6x6x3} - right -+
                   right --- global max pool - other ->  "o": other}
    """
    inputs = {"y": keras.Input((6, 6, 2), name="y"), "x": keras.Input((6, 6, 3), name="x")}
    left, right = conv(4, "left")(inputs["y"]), conv(4, "right")(inputs["x"])
    other = layers.GlobalMaxPooling2D(name="max")(right)
    outputs = {"p": head(left + right), "o": layers.Dense(2, name="other")(other)}
    return keras.Model(inputs, outputs, name="dicts")


@network({"b": 5}, {"a": (4, "model output"), **HEAD})
def outputs_on_the_way():
    """
    image -> output
    image - a -> output
            a - b - pool - head -> output, twice
    """
    inputs = image()
    a = conv(4, "a")(inputs)
    x = head(conv(5, "b")(a))
    return keras.Model(inputs, [inputs, a, x, x], name="outputs_on_the_way")


# What stays frozen.


@keras.saving.register_keras_serializable("tfrcp_tests")
class Twice(layers.Layer):
    def call(self, x):
        return x + x


@keras.saving.register_keras_serializable("tfrcp_tests")
class OwnConv2D(layers.Conv2D):
    def call(self, x):
        return super().call(x[..., ::-1])


@network(
    {"b": 5},
    {"a": (4, "twice (Twice): no rule"), **HEAD},
    unknown={"twice": "Twice"},
)
def custom_layer():
    """
    image - a - a layer that nobody knows - b - pool - head
    """
    inputs = image()
    x = Twice(name="twice")(conv(4, "a")(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x)), name="custom_layer")


@network(
    {"b": 5},
    {"a": (4, "own (OwnConv2D): no rule"), **HEAD},
    unknown={"own": "OwnConv2D"},
)
def own_convolution():
    """
    image - a - a subclass of Conv2D that does something else - b - pool - head
    """
    inputs = image()
    x = OwnConv2D(4, 3, name="own")(conv(4, "a")(inputs))
    return keras.Model(inputs, head(conv(5, "b")(x)), name="own_convolution")


@network(
    {"d": 4},
    {
        "a": (3, "a (Conv2D): the activation softmax may mix channels"),
        "b": (4, "softmax (Activation): the activation softmax may mix channels"),
        "c": (5, "layer (Softmax)"),
        **HEAD,
    },
)
def softmax():
    """
    image - a with softmax - b - softmax activation - c - softmax layer - d - pool - head
    """
    inputs = image()
    x = conv(3, "a", activation="softmax")(inputs)
    x = layers.Activation("softmax", name="softmax")(conv(4, "b")(x))
    x = layers.Softmax(name="layer")(conv(5, "c")(x))
    return keras.Model(inputs, head(conv(4, "d")(x)), name="softmax")


@network(
    {"b": 5},
    {"a": (4, "an array as operand"), **HEAD},
)
def array_operand():
    """
    image - a - times [1 2 3 4] - b - pool - head
    """
    inputs = image()
    x = conv(4, "a")(inputs) * ops.convert_to_tensor([1.0, 2.0, 3.0, 4.0])
    return keras.Model(inputs, head(conv(5, "b")(x)), name="array_operand")
