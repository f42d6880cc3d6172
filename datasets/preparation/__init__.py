"""Preparing published datasets, normals from depth and axes of normals, and synthetic data in the datasets' formats."""
