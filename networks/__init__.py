"""The network: two encoders, their fusion, and the decoders of the three tasks."""
