"""Dropout techniques for PyTorch: the paper's DropAct, DropInv and DropCorr, and those it compares with.

The activation techniques are used like ``nn.Dropout``; DropConnect and Standout wrap a layer, Variational does either.
The folder depends on torch alone and can be copied into a project of your own.
"""

from importlib import import_module
from pkgutil import iter_modules

from .base import TECHNIQUES as _FOUND
from .base import Dropout, Effect, Knob, Noise
from .dropact import DropAct
from .dropconnect import DropConnect
from .dropcorr import DropCorr
from .dropinv import DropInv
from .factory import DropoutFactory, check_knobs, dropouts, factory, kl, noise_parameters, set_p, technique
from .gaussian import Gaussian
from .replace import replace_dropout
from .standard import Standard
from .standout import Standout
from .variational import Variational
from .wrapper import LayerDropout

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

TECHNIQUES = _FOUND
_ORDER = ("standard", "dropconnect", "gaussian", "variational", "standout", "dropact", "dropinv", "dropcorr")
for _name in (*_ORDER, *sorted(TECHNIQUES.keys() - set(_ORDER))):  # the paper's order, then what the folder has besides
    TECHNIQUES[_name] = TECHNIQUES.pop(_name)

__all__ = [
    "TECHNIQUES",
    "DropAct",
    "DropConnect",
    "DropCorr",
    "DropInv",
    "Dropout",
    "DropoutFactory",
    "Effect",
    "Gaussian",
    "Knob",
    "LayerDropout",
    "Noise",
    "Standard",
    "Standout",
    "Variational",
    "check_knobs",
    "dropouts",
    "factory",
    "kl",
    "noise_parameters",
    "replace_dropout",
    "set_p",
    "technique",
]
