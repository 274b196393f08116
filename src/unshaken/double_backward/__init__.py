"""The second derivative of a network at the least work; used by the clean pass."""

from unshaken.double_backward.mode import TwiceDifferentiable
from unshaken.double_backward.session import Session

__all__ = ["Session", "TwiceDifferentiable"]
