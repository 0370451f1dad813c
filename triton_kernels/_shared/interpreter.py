"""Whether kernels run in Triton's interpreter, on any device: TRITON_INTERPRET=1 was set when they were imported."""

import triton

from .softmax import tanh

INTERPRETED = not isinstance(tanh, triton.JITFunction)
