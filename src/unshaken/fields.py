"""Movement field families, by the name that users import them under."""

from unshaken.perturbations.fields import (
    Affine,
    Elastic,
    Field,
    Rotation,
    Scale,
    Shear,
    Shift,
    centered,
)

__all__ = ["Affine", "Elastic", "Field", "Rotation", "Scale", "Shear", "Shift", "centered"]
