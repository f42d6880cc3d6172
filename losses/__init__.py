"""Losses of the tasks, each a `TaskLoss`, and the methods that balance them."""
