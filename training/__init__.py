"""The training engine: loop, optimizer step, saved state and log. It knows no network, dataset or task by name."""
