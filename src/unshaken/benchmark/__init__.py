"""What a training step of every method costs, beside its textbook and the least possible."""
