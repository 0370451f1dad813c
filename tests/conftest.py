"""One thread for all tests: their models are so small that a second one only waits for the first.

In a variable, not by `torch.set_num_threads`: it also holds for the processes that tests start, whose results are
compared bit for bit with those of this one, and costs nothing where torch is not imported. A value set outside stays.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
