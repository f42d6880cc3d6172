"""The networks: Elite360M for panoramas, DeepLab and VMM for perspective images, and the checkpoints of all three."""
