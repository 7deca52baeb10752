"""Tensors for the browser: one run of bytes, which Streamlit hands over as it is."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

_TYPES = {np.dtype(np.uint8): "u1", np.dtype(np.float16): "f2", np.dtype(np.float32): "f4"}


class Body:
    """Arrays one behind another, each aligned."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, arrays: Mapping[str, Tensor | None]) -> dict[str, dict[str, Any]]:
        """Append the tensors that are there (uint8, float16 or float32); name → type, shape and offset."""
        return {name: self._append(tensor) for name, tensor in arrays.items() if tensor is not None}

    def behind(self, header: Mapping[str, Any]) -> bytes:
        """A header as JSON behind its length, then the arrays; offsets count from the end of the padded header."""
        text = json.dumps(header).encode()
        text += b" " * (-(4 + len(text)) % 8)
        return struct.pack("<I", len(text)) + text + bytes(self._bytes)

    def _append(self, tensor: Tensor) -> dict[str, Any]:
        array = tensor.cpu().contiguous().numpy()
        self._bytes.extend(b"\0" * (-len(self._bytes) % 8))
        place = {"type": _TYPES[array.dtype], "shape": list(array.shape), "offset": len(self._bytes)}
        self._bytes.extend(array.tobytes())
        return place
