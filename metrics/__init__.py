"""Figures of merit: per-image figures per task, one confusion matrix, and the evaluator that joins them."""
