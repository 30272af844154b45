import subprocess
import sys

GROWN = """
import resource, sys
sys.path.insert(0, "")
from models.training.memory import keep_memory
assert keep_memory() or sys.platform != "linux"
import numpy as np
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(8_000_000).sum()
before = faults()
for _ in range(5):
    np.ones(8_000_000).sum()
print(faults() - before)
"""


def test_freed_memory_is_used_again():
    """64 MB are 15,625 pages, each a fault when it is fetched anew."""
    done = subprocess.run([sys.executable, "-c", GROWN], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 15_625
