"""Metrics: per image and task, one confusion matrix, and the evaluator that joins them."""
