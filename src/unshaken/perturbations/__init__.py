"""Perturbations: the families of changes that an adversary chooses from."""

from unshaken.perturbations import fields
from unshaken.perturbations.additive import Additive
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.intensity import Intensity
from unshaken.perturbations.mask import Mask
from unshaken.perturbations.movement import Movement
from unshaken.perturbations.relative import Relative

__all__ = ["Additive", "Intensity", "Mask", "Movement", "Perturbation", "Relative", "fields"]
