"""All fields of an experiment with their defaults; every other file here changes some of them."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """A configuration of every field."""
    config = ConfigDict()
    config.name = "default"
    config.seed = 0
    # Devices: "auto" takes all GPUs if there are several; or "none", "mirrored", "tpu", and for
    # bin/train.py and bin/finetune.py "multi_worker", by TF_CONFIG.
    config.strategy = "auto"
    config.devices = ()  # such as ("GPU:0", "GPU:1"), to mirror on these

    config.tensorboard = False  # whether search and training write WORKDIR/tensorboard

    config.data = ConfigDict()
    # Or the name of a TensorFlow data set such as "cifar10", an .npz file, or a folder that holds
    # train/CLASS/ and test/CLASS/.
    config.data.name = "digits"
    config.data.data_dir = config_dict.placeholder(str)  # where tfds looks for its data
    config.data.download = False
    config.data.image_size = 0  # pixels that images are resized to; 0 leaves them as they are
    config.data.stream = False  # whether images stay encoded on disk until they are needed
    # What becomes of files in a folder that are no readable images: None ends in an error that
    # names one; "skip" decodes all files first, leaves these out and says how many they are.
    config.data.on_error = config_dict.placeholder(str)
    config.data.holdout = 0.1  # share of the training images that only select
    # What pixels in [0, 1] are multiplied by: 255 for a network with its own Rescaling layer.
    config.data.scale = config_dict.placeholder(float)
    config.data.mean = ()  # per channel, of images in [0, 1]; empty for none
    config.data.std = ()
    # Any other job: "package.module:function" or "path/to/file.py:function". The function returns
    # {"train": (x, y), "holdout": ..., "test": ...}; of the fields above none applies then.
    config.data.factory = ""
    config.data.options = ConfigDict()  # keyword arguments of the function

    config.model = ConfigDict()
    config.model.name = "resnet20"  # a builder in tfrcp.models
    # Further arguments of the builder. --config.model.options=none removes those of a file.
    config.model.options = ConfigDict()
    # A function of your own instead, named as config.data.factory: it returns a built, compiled
    # keras.Model. Its loss and metrics are what is trained, searched for and reported.
    config.model.factory = ""
    # A trained network to start from: a .keras file, PyTorch arrays of a CIFAR ResNet in .npz, or
    # "keras.applications" for its ImageNet weights (or their .h5 file).
    config.model.base = ""

    # Training of the base. With `model.base`, 0 epochs take it as it is.
    config.train = recipe(epochs=200, learning_rate=0.1)

    config.search = ConfigDict()
    config.search.flops = 0.5  # share of the unpruned MACs, or an absolute number
    # Upper bounds of the weights and of the activations, likewise; with flops = 0 targets.
    config.search.params = config_dict.placeholder(float)
    config.search.activations = config_dict.placeholder(float)
    # Time per image as a share of the unpruned network's, measured on this machine: an upper bound,
    # or with flops = 0 the target. Timed is the Keras model, or a format of config.export.
    config.search.latency = config_dict.placeholder(float)
    config.search.latency_format = ""
    config.search.tolerance = 0.005
    config.search.min_ratio = 0.1
    config.search.max_ratio = 1.0
    config.search.divisor = 1
    config.search.fixed = ()  # names or patterns of groups or layers to leave alone
    config.search.tied = ()  # patterns of groups that keep the same share of their channels
    config.search.sampler = "guided"  # or "random", "evolutionary", "surrogate"
    # "auto": "optimal_brain_surgeon" where the model allows it, else "taylor", else "l1". Or a
    # name, perhaps with arguments, such as "l2:scope=group"; see tfrcp.criteria.get.
    config.search.criterion = "auto"
    # "auto": the accuracy of a classifier, else the compiled loss. Or "val_loss", "val_NAME" for a
    # compiled metric, "agreement" with the unpruned network.
    config.search.objective = "auto"
    config.search.max_trials = 100
    config.search.reconstruction = "least_squares"  # or "batch_norm", "none"
    config.search.calibration_images = 256
    # Of these, for the batch norms of every candidate; by default 128, of large images fewer.
    config.search.batch_norm_images = config_dict.placeholder(int)
    config.search.racing = True
    # Steps in which the network is pruned, each by the same factor and fine-tuned before the next.
    config.search.stages = 1

    config.finetune = recipe(epochs=40, learning_rate=0.01)

    config.evaluate = ConfigDict()
    config.evaluate.batch_size = 250
    config.evaluate.latency_batch_size = 64

    config.export = ConfigDict()
    # One or more of "tf_saved_model", "litert", "litert_float16", "litert_dynamic", "litert_int8",
    # "onnx"; on the command line joined by commas.
    config.export.format = ("tf_saved_model",)
    config.export.preprocessing = False  # whether the files normalise by data.mean and data.std
    config.export.calibration_images = 256  # for litert_int8
    config.export.accuracy_tolerance = 0.01  # of the holdout images, by which a file may be worse
    config.export.score_tolerance = (
        0.1  # by which a score that is no accuracy may be worse, a share
    )
    return config


def recipe(**changes) -> ConfigDict:
    """How a network is trained; see `tfrcp.training.Recipe`."""
    fields = {
        "epochs": 200,
        "batch_size": 128,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "warmup_epochs": 0,
        "label_smoothing": 0.0,
        "augment": "cifar",
        "ema": 0.0,
        "distillation": 0.0,  # share of the loss that imitates the base; in fine-tuning only
        "temperature": 4.0,
        "accumulate": 1,
        "patience": 0,
        "keep_best": False,
        # What is punished so that channels become zero: "batch_norm_scale", or "group_lasso".
        "sparsity": "",
        "sparsity_strength": 1e-4,
        "batch_norm_images": 1000,  # re-estimate batch norms' statistics; see tfrcp.training.Recipe
        "precision": "float32",
        "jit_compile": False,
    }
    return ConfigDict({**fields, **changes})
