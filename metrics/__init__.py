"""Metrics of the tasks, the evaluator that collects them, and baselines."""
