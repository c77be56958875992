import importlib.util

# Modules that import what is not installed hold no examples that could run.
has_triton = importlib.util.find_spec("triton") is not None
collect_ignore = [] if has_triton else ["pyro_ugmm/nn/kernels/fused_triton.py"]
