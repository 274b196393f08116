"""Movement field families; each is nothing but its basis."""

from unshaken.perturbations.fields.affine import Affine
from unshaken.perturbations.fields.base import Field, centered
from unshaken.perturbations.fields.elastic import Elastic
from unshaken.perturbations.fields.rotation import Rotation
from unshaken.perturbations.fields.scale import Scale
from unshaken.perturbations.fields.shear import Shear
from unshaken.perturbations.fields.shift import Shift

__all__ = ["Affine", "Elastic", "Field", "Rotation", "Scale", "Shear", "Shift", "centered"]
