"""The training loop's parts: one optimiser step, the state that survives, when to stop, what is told."""
