"""Every stage on every checkpoint: answers, judgements, benchmarks, one checkpoint after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.errors import BenchmarkError
from finetune.errors import FinetuneError
from harness.benchmark import BenchmarkSettings, Suite
from harness.checkpoints import Target
from harness.errors import CheckpointError
from harness.judging.every_judge import Judging
from harness.records import Evaluation
from harness.respond import AnswerSettings
from harness.screen import Screen
from harness.stages import Answered, Asked, benchmark_all, collect, missing_answers
from harness.store import Run


@dataclass(frozen=True)
class Wanted:
    """What is to be done with each checkpoint.

    Attributes:
        asked: Data sets to answer.
        answers: How.
        judging: Who judges, and how.
        suites: Benchmarks, each with its settings.
        fresh: Do again what is recorded.
    """

    asked: Sequence[Asked]
    answers: AnswerSettings
    judging: Judging
    suites: Sequence[tuple[Suite, BenchmarkSettings]] = ()
    fresh: bool = False


@dataclass
class Done:
    """What came of it.

    Attributes:
        made: Evaluations, old and new.
        failed: What could not be done, by checkpoint (and benchmark), and why.
        unanswered: Items without an answer.
        answered: What was answered and is not judged yet.
    """

    made: list[Evaluation] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0
    answered: list[Answered] = field(default_factory=list)

    @property
    def judges(self) -> list[str]:
        """The judges as tables name them."""
        return list(dict.fromkeys(e.judge for e in self.made if e.judge))


def run_every_stage(run: Run, targets: Sequence[Target], wanted: Wanted, screen: Screen) -> Done:
    """Take the checkpoints one after the other; one that fails is named, and the others go on.

    Raises:
        FinetuneError: If none of them could do anything: the first one's reason.
        BenchmarkError: The same of benchmarks.
        JudgeError: If the judge cannot be used.
        HarnessError: If an endpoint is gone, or the run cannot be written: the next run goes on there.
    """
    done = Done()
    errors: list[Exception] = []
    for number, target in enumerate(targets, 1):
        screen.say(f"{target.record.name} ({number} of {len(targets)})")
        for what, do in _stages(run, target, wanted, done, screen).items():
            try:
                do()
            except (FinetuneError, BenchmarkError, CheckpointError) as error:
                errors.append(error)
                done.failed[what] = str(error)
                screen.warn(f"{what} left out: {error}")
    if done.answered:
        done.made += wanted.judging.judge(run, done.answered, screen)
    if errors and not done.made:
        raise errors[0]
    return done


def _stages(run: Run, target: Target, wanted: Wanted, done: Done, screen: Screen) -> Mapping[str, Callable[[], None]]:
    """By what they are called when they fail: the answers with their judgements, and each benchmark."""

    def judged() -> None:
        answered = collect(run, [target], wanted.asked, wanted.answers, screen, fresh=wanted.fresh)
        done.unanswered += sum(len(missing_answers(run, one)) for one in answered)
        if wanted.judging.compares:
            done.answered += answered  # who is compared with whom shows when all have answered
        else:
            done.made += wanted.judging.judge(run, answered, screen)

    def measured(suite: Suite, settings: BenchmarkSettings) -> None:
        done.made += benchmark_all(run, [target], [suite], settings, screen, fresh=wanted.fresh)

    stages: dict[str, Callable[[], None]] = {target.record.name: judged}
    for suite, settings in wanted.suites:
        stages[f"{target.record.name}, {suite.name}"] = partial(measured, suite, settings)
    return stages
