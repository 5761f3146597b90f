from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Sequence

from torch import Tensor

from mmseg_ext.registry import BENCHMARKS


@dataclass
class Case:
    """What a benchmark compares: the same work done by ours and by each baseline.

    A case is what a function ``name(device: str, small: bool = False) -> Case`` returns that is
    registered with :func:`benchmark`. ``small`` asks for a size that a test can afford. The
    docstring of the function says what is compared.

    Args:
        inputs (str): Shapes and settings, for the reader of the table.
        runs (dict[str, Callable]): What is timed, by name; called without arguments. The first is
            ours, and the ratios are against it; names of ours begin with 'ours', baselines do not.
        gradients_of (Sequence[Tensor]): Leaves of the graph. If there are some, a run returns a
            scalar with a graph, and a second phase, ``'forward+backward'``, times the run followed
            by ``torch.autograd.grad`` of these. Nothing is accumulated in ``.grad``, so there is
            nothing to reset between calls.
        phase (str): What a run does, as the tables call it. Defaults to ``'forward'``.
        floor_bytes (dict[str, int], optional): For each phase the bytes that every program has
            to read and write. None if arithmetic, not memory, decides the time.
        parity (Callable, optional): Called before the clock starts; raises if the runs do not
            compute the same. None if they are not meant to.
    """
    inputs: str
    runs: Dict[str, Callable[[], Any]]
    gradients_of: Sequence[Tensor] = ()
    phase: str = 'forward'
    floor_bytes: Optional[Dict[str, int]] = None
    parity: Optional[Callable[[], None]] = None


CaseFunction = Callable[..., Case]


def benchmark(*covers: str, name: Optional[str] = None) -> Callable[[CaseFunction], CaseFunction]:
    """Register a function that makes a case in ``BENCHMARKS``, by its own name or another.

    ``covers`` names the plugins and ops that the case measures; readable as ``function.covers``
    without building any input.
    """

    def register(function: CaseFunction) -> CaseFunction:
        function.covers = covers
        return BENCHMARKS.register_module(name=name, module=function)

    return register


def sizes(shape: Sequence[int]) -> str:
    """Write a shape as in '2x19x512x1024'."""
    return 'x'.join(map(str, shape))


def family(name: str) -> str:
    """Family of a registered case: the name of the file that it is written in."""
    return BENCHMARKS.get(name).__module__.rpartition('.')[2]
