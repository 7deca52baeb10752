"""Results that are kept as long as they fit into so many bytes, where one may be a thousand times another's size."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

T = TypeVar("T")


def kept_within(most: int) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Like ``functools.lru_cache``, but the results used last share ``most`` bytes; a larger one is not kept.

    Positional, hashable arguments only; a result is a tensor, an array, or an object or tuple of such. The function
    gets ``cache_clear``.
    """

    def around(function: Callable[..., T]) -> Callable[..., T]:
        kept: OrderedDict[tuple[Hashable, ...], tuple[T, int]] = OrderedDict()
        lock = Lock()

        @wraps(function)
        def remembered(*key: Hashable) -> T:
            with lock:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key][0]
            result = function(*key)
            if (size := bytes_of(result)) > most:
                return result
            with lock:
                kept[key] = result, size
                kept.move_to_end(key)
                while sum(size for _, size in kept.values()) > most:
                    kept.popitem(last=False)
            return result

        remembered.cache_clear = kept.clear  # type: ignore[attr-defined]
        return remembered

    return around


def bytes_of(result: Any) -> int:
    """What the tensors and arrays of a result take; tensors that share memory count once, as all of it."""
    one = result is None or isinstance(result, Tensor | np.ndarray)
    parts = [result] if one else list(result) if isinstance(result, tuple) else list(vars(result).values())
    storages = [part.untyped_storage() for part in parts if isinstance(part, Tensor)]
    arrays = [part.nbytes for part in parts if isinstance(part, np.ndarray)]
    return sum(arrays) + sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
