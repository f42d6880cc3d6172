"""Operations that are faster or need less memory than the plain formula, which each docstring shows.

Those that only pay off on CPUs are used if `utils.cpu_kernels.use_cpu_kernels` holds, and torch's own otherwise.
"""
