"""Networks with few weights: hard-concrete gates that a term of the objective closes."""

from unshaken.sparsity.compaction import compact
from unshaken.sparsity.gates import Gates, add_gates, gates_of
from unshaken.sparsity.penalty import L0
from unshaken.sparsity.pruning import expected_l0, prune, remaining

__all__ = ["L0", "Gates", "add_gates", "compact", "expected_l0", "gates_of", "prune", "remaining"]
