"""Gavier, section 3.1, Algorithm 1: k units fall, drawn without replacement with probability ∝ activation."""

from __future__ import annotations

from .ranked import Race


class DropAct(Race):
    """Activation dropout: x with k units set to 0, drawn ∝ x_i over the active units (x_i > 0); x in eval."""

    name = "dropact"
    title = "DropAct"
    paper = "Gavier, Activation Dropout, Inverse Dropout and Correlated Dropout, section 3.1"
    mechanism = "k units fall, the more active the likelier."
    formula = r"y = x \circ m, \quad \text{score}_i = E_i / x_i, \; E_i \sim \mathrm{Exp}(1)"
    cost = "One random number a unit and a selection of the k smallest: grows with N."
    worked = "E / x = {score} {sign} {cut};  y = {x} · {factor} = {y}"
    power = 1
