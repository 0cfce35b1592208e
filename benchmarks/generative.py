"""Multiple choice as something to write: the model names its choice in words, and is read."""

from benchmarks.errors import BenchmarkError
from benchmarks.loading import Loaded


def generative(loaded: Loaded) -> Loaded:
    """The tasks with multiple choice turned into writing.

    Raises:
        BenchmarkError: If there is a task that cannot be turned.
    """
    raise BenchmarkError(f"{len(loaded['tasks'])} tasks: writing a choice is not built yet; leave out --how generate")
