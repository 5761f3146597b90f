"""The ops on CUDA, a module for each. These alone import Triton, when an op is first called."""
