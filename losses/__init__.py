"""Losses: one per task, each a `PixelLoss`, and their combination."""
