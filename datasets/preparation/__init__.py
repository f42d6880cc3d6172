"""Preparing datasets as published; normals from depth, orders of axes, synthetic rooms in the datasets' formats."""
