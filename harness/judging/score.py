"""Responses to verdicts: a judge scores every answer once, or as often as it is to be repeated."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from finetune.instructions import DataSet, Entry
from harness.comparing.scores import judge_folder
from harness.judging.judgments import Batch, Order, Wanted, settings_in, told
from harness.records import JSON, CheckpointRecord, Evaluation, Response, Verdict
from harness.store import record_key

if TYPE_CHECKING:
    from judges.base import Judge, Judgment


def verdicts_wanted(order: Order, checkpoint: CheckpointRecord, data: DataSet, answered: Evaluation) -> Batch[Verdict]:
    """The verdicts on the responses of one evaluation, and which of them are still to be made.

    Args:
        order: Who judges.
        checkpoint: Whose answers, as the run knows it.
        data: The entries with the expected answers.
        answered: The evaluation that collected the answers.
    """
    responses = order.run.records(Response, "responses", data.label, answered.checkpoint).read()
    file = order.run.records(Verdict, "verdicts", data.label, judge_folder(order.shown), checkpoint.slug)
    return order.batch(checkpoint, answered, file, [*_wanted(order, checkpoint, data, answered, responses)])


def _wanted(
    order: Order,
    checkpoint: CheckpointRecord,
    data: DataSet,
    answered: Evaluation,
    responses: Mapping[str, Response],
) -> Iterator[Wanted[Verdict]]:
    """Judgments of every answer that came; items without one have nothing to judge."""
    from judges.base import Submission

    judge = order.judge

    def keeping(response: Response) -> "Callable[[Wanted[Verdict], Judgment], Verdict]":
        return lambda one, judgment: _verdict(one, judgment, judge, checkpoint, response)

    for entry in data.evaluated:
        for response_key in answered.records.get(entry.item_id, []):
            response = responses.get(response_key)
            if response is None or response.text is None:
                continue
            submission = Submission(
                instruction=entry.question,
                expected=entry.output,
                answer=response.text,
                check=_check_of(entry),
            )
            for repeat in range(order.repeats):
                request = judge.request(submission, repeat=repeat)
                key = record_key(
                    judge=judge.fingerprint,
                    rubric=judge.rubric,
                    request=request,
                    item=entry.item_id,
                    sample=response.sample,
                    repeat=repeat,
                )
                yield Wanted(submission, entry.item_id, key, repeat, keeping(response), settings_in(request))


def _check_of(entry: Entry) -> Mapping[str, JSON]:
    """What an entry wants to be checked; nothing where that is no check, which is for those to refuse who check."""
    from judges.base import JudgeError
    from judges.checks import read_check

    try:
        return read_check(entry.meta.get("check"))
    except JudgeError:
        return {}


def _verdict(
    one: Wanted[Verdict], judgment: "Judgment", judge: "Judge", checkpoint: CheckpointRecord, response: Response
) -> Verdict:
    return Verdict(
        **told(one, judgment, judge),
        checkpoint=checkpoint.fingerprint,
        response=response.key,
        length=len(response.text or ""),
        scale=judge.scale,
        exact=judgment.exact,
    )
