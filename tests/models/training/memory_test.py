import subprocess
import sys

SETUP = """
import resource, sys
sys.path.insert(0, "")
from models.training.memory import keep_memory, release_memory
import numpy as np
"""
GROWN = """
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with keep_memory() as kept:
    assert kept or sys.platform != "linux"
    np.ones(8_000_000).sum()
    before = faults()
    for _ in range(5):
        np.ones(8_000_000).sum()
    print(faults() - before)
"""
GIVEN_BACK = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
with keep_memory():
    large = [np.ones(1_000_000) for _ in range(16)]
    behind = np.ones(1_000)  # what lies behind keeps the heap from shrinking
    del large
    held = resident()
print(held - resident())
release_memory()
for size in (1_000_000, 8_000_000):  # below and above the threshold
    held, large = resident(), np.ones(size)
    del large
    release_memory()
    assert resident() - held < 1 << 20
"""


GRAPHS = """
import weakref
import tensorflow as tf

@tf.custom_gradient
def double(x):
    return 2.0 * x, lambda gradient: gradient * (2.0 + 0.0 * x)

def step():
    variable = tf.Variable(tf.ones([1_000]))

    @tf.function
    def loss():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(double(variable))
        return tape.gradient(value, variable)

    return weakref.ref(loss.get_concrete_function().graph)

graphs = [step() for _ in range(3)]
release_memory()
print(sum(graph() is not None for graph in graphs))
"""


def run(program: str) -> int:
    """Returns what a process of its own prints first."""
    command = [sys.executable, "-c", SETUP + program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def test_freed_memory_is_used_again() -> None:
    """64 MB are 15,625 pages, each a fault when it is fetched anew."""
    assert run(GROWN) < 15_625


def test_freed_memory_is_given_back_afterwards() -> None:
    """16 arrays of 8 MB were freed."""
    assert run(GIVEN_BACK) > 100_000_000


def test_graphs_with_gradients_of_their_own_are_given_back() -> None:
    assert run(GRAPHS) == 0
