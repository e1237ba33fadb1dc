"""The recipe of a training: what is optimised, how, and for how long.

One object serves base training, fine-tuning and training from scratch. The length and the schedule
of fine-tuning decide most comparisons between pruned networks, so they are to be the same for all
and to be reported.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from tfrcp.arguments import check_choice, check_int, check_number

SPARSITIES = ("", "batch_norm_scale", "group_lasso")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Nesterov SGD with linear warm-up and cosine decay to zero: the field's standard for CIFAR.

    Learning rate, momentum, weight decay, batch size, epochs and augmentation are those of
    Zagoruyko and Komodakis, "Wide Residual Networks" (2016, arXiv 1605.07146). The cosine is that
    of Loshchilov and Hutter (2017, arXiv 1608.03983) without restarts; the warm-up, and weights of
    normalisation without decay, are from Goyal et al. (2017, arXiv 1706.02677). He et al., "Deep
    Residual Learning" (2016, arXiv 1512.03385), trained the CIFAR ResNets with `weight_decay=1e-4`.

    `weight_decay` is what these papers and PyTorch's SGD mean by it: the coefficient of a penalty
    weight_decay / 2 * ||w||^2, whose gradient passes through the momentum and so acts
    1 / (1 - momentum) times in all. Keras decays beside the momentum, w -= learning_rate * decay *
    w, and is given decay = weight_decay / (1 - momentum), which agrees while weights and learning
    rate change little over 1 / (1 - momentum) steps. Unscaled, it would be ten times too weak.

    Attributes:
        epochs: Passes over the training data, 0 or more.
        batch_size: Examples per step, over all devices together.
        learning_rate: The peak, reached after the warm-up.
        momentum: Nesterov momentum in [0, 1).
        weight_decay: Of kernels; biases and the weights of normalisation are not decayed.
        warmup_epochs: Epochs of linear warm-up, fewer than `epochs`.
        label_smoothing: Probability mass in [0, 1) that is spread evenly over the classes.
        augment: Name of an augmentation of the training data, or `None`.
        ema: Decay in [0, 1) of a moving average of the weights, which is what is scored and kept;
            0 for none.
        distillation: Share in [0, 1] of the loss that imitates a teacher's predictions; of outputs
            that are no class scores, their normalised squared distance.
        temperature: By which the logits are divided for that.
        accumulate: Parts that a device's share of a batch is computed in, one after the other, to
            save memory: the sum of their gradients makes one step. Batch norm sees the parts.
        patience: Epochs without a better holdout score (of a classifier its accuracy, else the
            loss or what is asked for) after which training stops; 0: never.
        keep_best: Whether the weights of the epoch with the best holdout score are kept, instead of
            the last. They were selected by the holdout, whose score flatters them.
        sparsity: What is punished so that channels become zero, before they are pruned: "" nothing,
            "batch_norm_scale" the scales of batch norms one by one (network slimming),
            "group_lasso" all that scales a channel together; see `tfrcp.training.Sparsity`.
        sparsity_strength: Coefficient of that penalty, which is added to the loss.
        batch_norm_images: Number of training images, as trained, that re-estimate the statistics of
            batch norms before weights are scored or kept, while the moving ones still hold more
            than 0.1 % of what they were, or weights are averaged (`ema`); 0 for none.
        precision: Keras dtype policy to compute in: "float32", "mixed_float16", "mixed_bfloat16".
        jit_compile: Whether steps are compiled by XLA; on one device only.

    Raises:
        ValueError: A value is out of its range.
    """

    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    augment: str | None = "cifar"
    ema: float = 0.0
    distillation: float = 0.0
    temperature: float = 4.0
    accumulate: int = 1
    patience: int = 0
    keep_best: bool = False
    sparsity: str = ""
    sparsity_strength: float = 1e-4
    batch_norm_images: int = 1000
    precision: str = "float32"
    jit_compile: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 0),
            ("batch_size", 1),
            ("warmup_epochs", 0),
            ("accumulate", 1),
            ("patience", 0),
            ("batch_norm_images", 0),
        ):
            object.__setattr__(self, name, check_int(name, getattr(self, name), least))
        for name, interval in (
            ("learning_rate", "(0, inf)"),
            ("momentum", "[0, 1)"),
            ("weight_decay", "[0, inf)"),
            ("label_smoothing", "[0, 1)"),
            ("ema", "[0, 1)"),
            ("distillation", "[0, 1]"),
            ("temperature", "(0, inf)"),
            ("sparsity_strength", "[0, inf)"),
        ):
            check_number(name, getattr(self, name), interval)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("sparsity", self.sparsity, SPARSITIES)
        if self.sparsity and self.ema:
            raise ValueError(
                "`sparsity` and `ema` do not go together: averaged weights are never exactly zero."
            )
        if self.jit_compile and self.accumulate > 1:
            raise ValueError("`jit_compile` and `accumulate` above 1 do not go together.")
        if self.epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(
                "`warmup_epochs` must be below `epochs`, so that the decay has an epoch. "
                f"Received: warmup_epochs={self.warmup_epochs}, epochs={self.epochs}"
            )
        if not isinstance(self.augment, (str, type(None))):
            raise ValueError(
                f"`augment` must be a name or None. Received: augment={self.augment!r}"
            )

    def check(self, replicas: int) -> None:
        """Refuses what does not go with a number of devices.

        Raises:
            ValueError: If it does not.
        """
        if self.batch_size % replicas:
            raise ValueError(
                f"`batch_size` must be a multiple of the number of devices, {replicas}. "
                f"Received: batch_size={self.batch_size}"
            )
        if self.jit_compile and replicas > 1:
            raise ValueError(
                "`jit_compile=True` works on one device only. Received: a strategy with "
                f"{replicas} devices"
            )

    def schedule(self, steps_per_epoch: int) -> keras.optimizers.schedules.CosineDecay:
        """Returns the learning rate as a function of the step, for one epoch or more."""
        warmup_steps = self.warmup_epochs * steps_per_epoch
        decay_steps = self.epochs * steps_per_epoch - warmup_steps
        if not warmup_steps:
            return keras.optimizers.schedules.CosineDecay(self.learning_rate, decay_steps)
        return keras.optimizers.schedules.CosineDecay(
            self.learning_rate / warmup_steps,
            decay_steps,
            warmup_target=self.learning_rate,
            warmup_steps=warmup_steps,
        )

    def displacements(self, steps_per_epoch: int) -> np.ndarray:
        """What a constant gradient of 1 moves a weight by in every step, momentum included.

        Returns:
            float64 array [steps], near learning_rate / (1 - momentum) while that changes little.
        """
        steps = np.arange(self.epochs * steps_per_epoch)
        rates = np.asarray(self.schedule(steps_per_epoch)(steps), dtype="float64")
        moved, velocity = np.empty(len(rates)), 0.0
        for step, rate in enumerate(rates):
            velocity = self.momentum * velocity + rate
            moved[step] = self.momentum * velocity + rate
        return moved

    def optimizer(self, model: keras.Model, steps_per_epoch: int) -> keras.optimizers.Optimizer:
        """Returns a new optimizer, for one epoch or more.

        Args:
            model: The model to train; its vectors (biases, weights of normalisation) and whatever
                is named "bias" are kept from decay.
            steps_per_epoch: Batches per epoch, for the schedule.
        """
        optimizer = keras.optimizers.SGD(
            self.schedule(steps_per_epoch),
            momentum=float(self.momentum),
            nesterov=True,
            weight_decay=self.weight_decay / (1 - self.momentum) or None,
            use_ema=bool(self.ema),
            ema_momentum=float(self.ema) or 0.99,
        )
        optimizer.exclude_from_weight_decay(
            [v for v in model.trainable_variables if len(v.shape) < 2 or v.name == "bias"]
        )
        if self.precision == "mixed_float16":
            return keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer
