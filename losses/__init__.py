"""Task losses, each returning a `PixelLoss`, and the methods that balance them."""
