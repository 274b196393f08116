"""How far changes of the input must go before a trained classifier changes its answer."""

from unshaken.auditing.audit import audit
from unshaken.auditing.result import Audit, Curve, Moved, compare

__all__ = ["Audit", "Curve", "Moved", "audit", "compare"]
