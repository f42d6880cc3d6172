"""Losses: one per task, each a `TaskLoss`, and their combination."""
