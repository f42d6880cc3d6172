"""The training loop's parts: one optimizer step, the saved state, when to stop, what is logged."""
