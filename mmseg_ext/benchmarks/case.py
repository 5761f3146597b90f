from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Sequence


@dataclass
class Case:
    """What a benchmark compares: the same work done by ours and by each baseline.

    A case is a function ``case(device: str) -> Case`` registered in ``BENCHMARKS``; its docstring
    says what is compared.

    Args:
        covers (Sequence[str]): Names of the plugins and ops that are measured.
        inputs (str): Shapes and settings, for the reader of the table.
        runs (dict[str, Callable]): What is timed, by name. The first is ours, the others are
            baselines.
        parity (Callable, optional): Called before the clock starts; raises if the runs do not
            compute the same. None where they are different networks.
    """
    covers: Sequence[str]
    inputs: str
    runs: Dict[str, Callable[[], Any]]
    parity: Optional[Callable[[], None]] = None
