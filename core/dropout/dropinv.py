"""Gavier, section 3.2, Algorithm 2: k active units fall, drawn without replacement with probability ∝ 1/activation."""

from __future__ import annotations

from .ranked import Race


class DropInv(Race):
    """Inverse dropout: x with k units set to 0, drawn ∝ 1/x_i over the active units (x_i > 0); x in eval."""

    name = "dropinv"
    title = "DropInv"
    paper = "Gavier, Activation Dropout, Inverse Dropout and Correlated Dropout, section 3.2"
    mechanism = "k active units fall, the less active the likelier."
    formula = r"y = x \circ m, \quad \text{score}_i = E_i \, x_i, \; E_i \sim \mathrm{Exp}(1)"
    cost = "One random number a unit and a selection of the k smallest: grows with N."
    worked = "E · x = {score} {sign} {cut};  y = {x} · {factor} = {y}"
    power = -1
