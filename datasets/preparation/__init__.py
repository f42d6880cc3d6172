"""What preparing and checking stored datasets have in common: the normals that depth implies, and orders of axes."""
