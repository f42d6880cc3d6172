"""Task losses, each returning a `LossSum`, and the methods that balance them."""
