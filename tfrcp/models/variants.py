"""Builders that take the arguments of another one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import keras

Builder = Callable[..., keras.Model]


def variant_of(builder: Builder) -> Callable[[Builder], Builder]:
    """Gives a builder of keywords the signature of another one; its model has its own name."""

    def decorate(function: Builder) -> Builder:
        signature = inspect.signature(builder)
        name = signature.parameters["name"].replace(default=function.__name__)
        signature = signature.replace(
            parameters=[name if p.name == "name" else p for p in signature.parameters.values()]
        )

        @functools.wraps(function)
        def build(*args: object, **options: object) -> keras.Model:
            bound = signature.bind(*args, **options)
            bound.apply_defaults()
            return function(**bound.arguments)

        build.__signature__ = signature
        return build

    return decorate
