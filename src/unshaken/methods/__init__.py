"""Named methods: each a recipe over perturbation, adversary and divergence."""

from unshaken.methods.at import AT
from unshaken.methods.mat import MAT, MVAT
from unshaken.methods.random import Random
from unshaken.methods.vat import VAT
from unshaken.methods.vmt import VMT
from unshaken.methods.xat import XAT, XVAT

__all__ = ["AT", "MAT", "MVAT", "VAT", "VMT", "XAT", "XVAT", "Random"]
