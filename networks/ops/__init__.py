"""Operations that are faster or need less memory than the plain formula, which their docstrings show.

Operations that only pay off on CPUs are used where `utils.cpu_kernels.use_cpu_kernels` is true; elsewhere, torch's own.
"""
