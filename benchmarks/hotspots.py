"""Where the time of an evaluation goes: share by stage and the hottest functions, from stack samples.

    python -m benchmarks.hotspots MODELS [--seconds 20] [--known-masses] [--stacks STACKS.txt] [--results STORE]

A timer of CPU time interrupts the process; the stack of each sample is counted, so that the profile slows nothing down. Compiled
kernels show under their own names where Python calls them. Without --known-masses the remembered look-ups are dropped before each
evaluation, as after a mass move of every particle. STACKS gets collapsed stacks, which flame-graph tools read.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

INTERVAL_S = 0.001
NUM_FUNCTIONS = 15
ROOMS = ("builder", "critics", "inference", "database")
PASSED_THROUGH = frozenset({"evaluate", "evaluate_predictions", "predict", "predict_topologies", "predict_populated", "populate"})
"""Functions of the evaluation that only call the stages."""
CALLED_BY_KERNELS = "_numba_unpickle"
"""What compiled kernels call to return tuples: a signal that arrived in the kernel is handled there, so it stands for the kernel."""

Stack = tuple[str, ...]
"""Names of functions, `module.function`, outermost first."""


def name_compiled_kernels() -> int:
    """Give each compiled kernel that Python can call a Python frame of its own, so that samples show it; returns how many.

    Only after everything is compiled: compiled code calls kernels directly and must find them as they were.
    """
    from numba.core.registry import CPUDispatcher

    frames: dict[int, Callable[..., Any]] = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] not in ROOMS:
            continue
        for name, value in list(vars(module).items()):
            if isinstance(value, CPUDispatcher):
                setattr(module, name, frames.setdefault(id(value), _with_frame(value)))
    return len(frames)


def _with_frame(kernel: Any) -> Callable[..., Any]:
    def compiled(*arguments: Any) -> Any:
        return kernel(*arguments)

    compiled.__code__ = compiled.__code__.replace(
        co_name=kernel.py_func.__name__,
        co_qualname=f"{kernel.py_func.__name__} [compiled]",
        co_filename=kernel.py_func.__code__.co_filename,
    )
    return compiled


class Sampler:
    """Counts stacks of the main thread.

    Attributes:
        stacks: samples per stack.
    """

    def __init__(self) -> None:
        self.stacks: Counter[Stack] = Counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample the block."""
        previous = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.signal(signal.SIGPROF, previous)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        names = []
        while frame is not None:
            if frame.f_code.co_name != CALLED_BY_KERNELS:
                names.append(_name(frame))
            frame = frame.f_back
        self.stacks[tuple(reversed(names))] += 1


def _name(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    room = next((number for number, part in enumerate(path.parts) if part in ROOMS), None)
    where = ".".join((*path.parts[room:-1], path.stem)) if room is not None else path.stem
    return f"{where}.{frame.f_code.co_qualname.replace('<locals>.', '')}"


def by_stage(stacks: Counter[Stack]) -> Counter[str]:
    """Samples per stage: the first function below the evaluator that does something itself."""
    stages: Counter[str] = Counter()
    for stack, count in stacks.items():
        below = [name for name in stack if name.startswith(ROOMS)]
        stages[next((name for name in below if name.rsplit(".", 1)[1] not in PASSED_THROUGH), "evaluator itself")] += count
    return stages


def by_function(stacks: Counter[Stack]) -> list[tuple[str, int, int]]:
    """(function, own samples, samples with what it calls), most own samples first."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
        for name in set(stack):
            total[name] += count
    return [(name, count, total[name]) for name, count in own.most_common()]


def sample_evaluations(evaluator: Any, models: Sequence[Any], seconds: float, *, forgets: bool) -> tuple[Counter[Stack], int, float]:
    """Samples of evaluations of the models in turn, number of evaluations, CPU time of them [s]."""
    for model in models:  # compile and remember
        evaluator.evaluate(model)
    name_compiled_kernels()
    forget = evaluator.predictor.look_up.forget
    sampler, count, start = Sampler(), 0, time.process_time()
    with sampler.running():  # all the time: the system's clock ticks every few ms, more slowly than evaluations follow each other
        while time.process_time() < start + seconds:
            for model in models:
                if forgets:
                    forget()
                evaluator.evaluate(model)
                count += 1
    return sampler.stacks, count, time.process_time() - start


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--known-masses", action="store_true")
    parser.add_argument("--stacks", type=Path, default=None)
    parser.add_argument("--results", default=None)
    arguments = parser.parse_args()

    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.model_io import read_models
    from services.stores import open_results

    evaluator = Evaluator(open_results(arguments.results), EvaluationSettings())
    models = read_models(arguments.models)
    stacks, count, used = sample_evaluations(evaluator, models, arguments.seconds, forgets=not arguments.known_masses)
    num_samples = sum(stacks.values())
    print(f"{count} evaluations of {len(models)} models, {1e3 * used / count:.3f} ms each (mean), {num_samples} samples")
    per_sample_us = 1e6 * used / count / num_samples
    print(f"{'stage':64}{'share':>7}{'µs':>8}")
    for name, samples in by_stage(stacks).most_common():
        if samples >= 0.005 * num_samples:
            print(f"{name:64}{samples / num_samples:7.1%}{samples * per_sample_us:8.1f}")
    print(f"{'function':64}{'own':>7}{'µs':>8}{'with callees':>14}")
    for name, own, total in by_function(stacks)[:NUM_FUNCTIONS]:
        print(f"{name:64}{own / num_samples:7.1%}{own * per_sample_us:8.1f}{total / num_samples:14.1%}")
    if arguments.stacks is not None:
        arguments.stacks.write_text("".join(f"{';'.join(stack)} {samples}\n" for stack, samples in sorted(stacks.items())))


if __name__ == "__main__":
    main()
