"""Operations in forms that are faster or smaller than the plain formula, which each docstring shows.

Forms that pay off on CPUs only are used where `utils.cpu_kernels.use_cpu_kernels` holds, torch's own elsewhere.
"""
