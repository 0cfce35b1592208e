"""`--lm-eval-json`: what `lm_eval --output_path` would have written of the same run."""

import time
from collections.abc import Sequence
from pathlib import Path

from harness.benchmark import BenchmarkSettings
from harness.checkpoints import Target
from harness.errors import HarnessError
from harness.records import JSON
from harness.store import Run


class ResultFiles:
    """lm-eval's results as benchmarks give them, and where they go."""

    def __init__(self, path: Path, targets: Sequence[Target], settings: BenchmarkSettings):
        """Nothing is written yet.

        Args:
            path: A file (`.json`) for one checkpoint; a folder for any number, samples beside the results.
            targets: The checkpoints that will be run.
            settings: How.

        Raises:
            HarnessError: If one file is to hold several checkpoints, or the path is in the way.
        """
        one_file = path.suffix == ".json"
        if one_file and len(targets) > 1:
            raise HarnessError(
                f"--lm-eval-json {path}: a file is for one checkpoint, not {len(targets)}; name a folder"
            )
        if path.is_dir() if one_file else path.is_file():
            raise HarnessError(
                f"--lm-eval-json {path}: wanted FILE.json or a folder, found {'a folder' if one_file else 'a file'}"
            )
        self.path, self.settings, self.started = path, settings, time.monotonic()
        self._found: list[tuple[Target, dict[str, JSON]]] = []

    def take(self, target: Target, result: dict[str, JSON]) -> None:
        """Remember one suite's result of one checkpoint."""
        self._found.append((target, result))

    def write(self, run: Run) -> list[Path]:
        """Write what was taken, one result a checkpoint; the files of results.

        Raises:
            BenchmarkError: If they cannot be written.
        """
        from benchmarks.lm_eval_result import merged, write_result

        made = []
        by_slug: dict[str, list[dict[str, JSON]]] = {}
        for target, result in self._found:
            by_slug.setdefault(run.known(target.record).slug, []).append(result)
        for slug, results in by_slug.items():
            seconds = time.monotonic() - self.started
            files = write_result(merged(results), self.path, slug, seconds=seconds, chat=self.settings.chat)
            made += [file for file in files if file.suffix == ".json"]
        return made
