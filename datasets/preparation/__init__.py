"""Preparing datasets: normals from depth, orders of axes, and synthetic rooms in the formats of real datasets."""
