"""The checkpoints that `ift-eval run` takes: whole ones, each once, in step order, and the base before them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from finetune.errors import FinetuneError
from harness.checkpoints import SHORT_NAMES, Reference, Target, child_reference, parse_reference, resolve
from harness.errors import HarnessError
from harness.expansion import BEST, FINAL, MERGED, MODEL, flaw, look_into, where_checkpoints_are
from harness.trainer_state import read_progress


@dataclass
class Gathered:
    """What there is to evaluate.

    Attributes:
        targets: The base if it could be found, then checkpoints in step order, the final model last.
        broken: Half-written ones, by their folder, and why.
        failed: Those whose files are all there and do not fit together, and why.
        remarks: What else the user should know.
    """

    targets: list[Target] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def gather(references: Iterable[str]) -> Gathered:
    """Look up folders of checkpoints, and other references beside them; what is half written is named and left out.

    Raises:
        HarnessError: If a reference cannot be found, or nothing whole is there.
        FinetuneError: If the only checkpoint named cannot be read.
    """
    found = Gathered()
    for text in references:
        reference = parse_reference(text)
        folder = Path(reference.target)
        if reference.scheme == "path" and folder.is_dir():
            _take_folder(replace(reference, target=str(where_checkpoints_are(folder))), found)
        else:
            _keep(resolve([text])[0], found)
    if not found.targets and (useless := found.failed | found.broken):
        name, why = next(iter(useless.items()))
        more = f"; and so with {len(useless) - 1} more" if len(useless) > 1 else ""
        raise HarnessError(f"wanted checkpoints, found none that is whole: {name}: {why}{more}")
    found.targets = [*_bases(found), *found.targets]
    found.remarks = list(dict.fromkeys(found.remarks))
    return found


def _take_folder(reference: Reference, found: Gathered) -> None:
    """All that lies in a folder; a folder with nothing in it is for `resolve` to refuse."""
    folder = Path(reference.target)
    there = look_into(folder)
    found.broken |= {str(path): why for path, why in there.broken.items()}
    taken = [_keep_whole(child_reference(reference, step, step.name), found) for step in there.steps]
    before = bool(there.steps)
    if there.final:
        final = child_reference(reference, folder, FINAL) if before else reference
        taken.append(_keep_whole(replace(final, text=reference.text), found))
    for copy in there.copies:
        if copy.name == MERGED and any(taken):
            found.remarks.append(f"{copy}: left out, it is an adapter's model once more; name it to evaluate it")
        else:
            taken.append(_keep_whole(child_reference(reference, copy, copy.name), found))
    if not taken and not there.broken:
        resolve([reference.text])
        raise AssertionError(f"{folder} holds checkpoints that were not seen")


def _keep_whole(reference: Reference, found: Gathered) -> Target | None:
    """Look up a checkpoint in a folder; one whose files do not fit together is left out like a half-written one."""
    folder = Path(reference.target)
    try:
        target = resolve([reference.text if reference.alias is None else f"{reference.alias}={folder}"])[0]
    except (FinetuneError, HarnessError, OSError) as error:
        found.failed[str(folder)] = str(error).removeprefix(f"{folder}: ")
        return None
    found.remarks += read_progress(folder).remarks if target.training is None else []
    _keep(target, found)
    return target


def _keep(target: Target, found: Gathered) -> None:
    same = next((t for t in found.targets if t.record.fingerprint == target.record.fingerprint), None)
    if same is None:
        found.targets.append(target)
    elif target.reference.target != same.reference.target and Path(target.reference.target).name != BEST:
        found.remarks.append(f"{target.reference.target}: left out, it is the same model as {same.record.name}")


def _bases(found: Gathered) -> Iterator[Target]:
    """What the checkpoints were trained from, where that lies here and is not among them already."""
    there = {target.record.fingerprint for target in found.targets}
    wanted: dict[str, str | None] = {}
    for target in found.targets:
        if name := _base_name(target):
            wanted.setdefault(name, target.record.base_fingerprint)
    for name, fingerprint in wanted.items():
        if fingerprint in there:
            continue
        base = _local_base(name)
        if base is None:
            found.remarks.append(f"the base {name} is not here, so it is no baseline; name it too: base=PATH")
        elif fingerprint not in (None, base.record.fingerprint):
            found.remarks.append(f"{name} is no longer what the checkpoints were trained from, so it is no baseline")
        else:
            yield from [base] if base.record.fingerprint not in there else []
            there.add(base.record.fingerprint)
            _remember_base(found, name, base.record.fingerprint)


def _base_name(target: Target) -> str | None:
    """Path or hub name of the model a checkpoint was made from: by our record, the adapter, or the model card."""
    if target.training:
        return target.training.base
    if target.folder is None or not target.folder.is_dir():
        return None
    if target.is_adapter:
        return str(target.model_folder)
    return base_in_card(target.folder) or base_in_card(target.folder.resolve().parent)


def base_in_card(folder: Path) -> str | None:
    """`base_model` at the head of the README.md that trainers leave with a model, where it names one."""
    import yaml

    try:
        _, head, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
        named = yaml.safe_load(head)["base_model"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    named = named[0] if isinstance(named, list) and named else named
    return named if isinstance(named, str) and named not in ("", "None") else None


def _local_base(name: str) -> Target | None:
    """A base that lies in a folder here or in the hub's cache; nothing is downloaded for a baseline."""
    path = Path(name) if Path(name).exists() else _cached(name)
    if path is None or (path.is_dir() and flaw(path) is not None):
        return None
    try:
        return resolve([f"base={path}"])[0]
    except (FinetuneError, HarnessError, OSError):
        return None


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    plain, _, revision = name.removeprefix("hf:").partition("@")
    try:
        config = try_to_load_from_cache(SHORT_NAMES.get(plain, plain), MODEL, revision=revision or None)
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None


def _remember_base(found: Gathered, name: str, fingerprint: str) -> None:
    """What a model card told is kept with the checkpoints, so that the base is their baseline."""
    found.targets = [
        replace(t, record=t.record.model_copy(update={"base_fingerprint": fingerprint}))
        if t.record.base_fingerprint is None and t.record.fingerprint != fingerprint and _base_name(t) == name
        else t
        for t in found.targets
    ]
