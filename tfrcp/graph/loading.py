"""Tells of what makes the file of a model useless, as long as the model is at hand."""

from __future__ import annotations

import json
import warnings
from typing import Any

import keras
from keras.src.saving.serialization_lib import SafeModeScope

from tfrcp.graph.cloning import classes_of, is_own_function
from tfrcp.graph.inside import functional


def warn_of_lost_layers(model: keras.Model) -> None:
    """Warns where a layer of a class outside of Keras, or a loss, cannot be made from what a file
    holds of it.

    Some libraries load such a layer only inside of a model that they build themselves.

    Args:
        model: Functional or Sequential.
    """
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__module__.startswith("keras.") or functional(layer) is not None:
            continue
        reason = _reason(layer)
        if reason:
            warnings.warn(
                f"A file of the pruned model cannot be loaded: `{layer.name}` "
                f"({type(layer).__name__}) cannot be made from what Keras saves of it ({reason}). "
                "Save the weights (`save_weights`) and the masks; to load them, slice the model "
                "again by these masks and call `load_weights`.",
                stacklevel=5,
            )
            return
    stored = getattr(model, "_compile_config", None)
    if not model.compiled or stored is None or type(model).compile is not keras.Model.compile:
        return
    for loss in keras.tree.flatten(stored.config.get("loss")):
        reason = _reason(loss) if isinstance(loss, keras.losses.Loss) else ""
        if reason:
            warnings.warn(
                f"The loss {type(loss).__name__} cannot be made from what Keras saves of it "
                f"({reason}). Load a file of the pruned model with `compile=False`.",
                stacklevel=5,
            )
            return


def _reason(part: Any) -> str:
    """Why a layer or a loss cannot be made from its part of a file; nothing if it can, or needs
    names that only the user has."""
    try:
        text = json.dumps(keras.saving.serialize_keras_object(part))
    except Exception:  # functions of the user's, say, which Keras tells of when it saves
        return ""
    names = {getattr(x, "__name__", ""): x for x in vars(part).values() if is_own_function(x)}
    try:
        scope = keras.saving.CustomObjectScope({**names, **classes_of(part)})
        with scope, SafeModeScope(safe_mode=False):
            keras.saving.deserialize_keras_object(json.loads(text), safe_mode=False)
    except Exception as error:  # whatever a class of the user's does
        found = str(error)
        if "ould not locate" in found or "ould not be located" in found:
            return ""
        return found.strip().splitlines()[-1][:200] if found.strip() else type(error).__name__
    return ""
