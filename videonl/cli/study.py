"""``videonl study STUDY.yaml --out DIR``: variants x seeds, trained, tested and compared."""

import logging
import re
from pathlib import Path

from videonl.cli.refusals import require_at_least
from videonl.errors import MOST_WORKERS, IncompleteError, UserError
from videonl.outputs import check_folder
from videonl.study import Study, StudyFolder
from videonl.study.report import print_report, write_report
from videonl.study.results import read_results
from videonl.study.running import Ended, Runner
from videonl.terminal import Console

_log = logging.getLogger(__name__)
_PART = re.compile(r"(\d{1,6})/(\d{1,6})")


def study(study: Path, out: Path | None = None, part: str | None = None, jobs: int = 1, report: bool = False) -> None:
    """Trains and tests every variant of a study with every seed, and compares them in one report.

    Each cell is an ordinary videonl fit and videonl test in a folder of its own, DIR/cells/VARIANT-seedN. Repeat an
    interrupted command to resume it: finished cells stay, interrupted trainings go on.

    Args:
        study: The study file; or, with --report, the folder of a study.
        out: Folder of the study; by default runs/ and the name of its file.
        part: i/n runs every n-th cell alone, from the i-th on: for n machines, or a SLURM array from 1 to n.
        jobs: How many cells run at once; they share the cores, and GPUs in turn.
        report: Write the report of what is there, also while the study runs.
    """
    require_at_least(1, MOST_WORKERS, jobs=jobs)
    share = _share(part)
    if study.is_dir():
        if not report:
            raise UserError(f"{study} is a folder: name the study file, or add --report for the report of a study")
        if out is not None or part is not None:
            raise UserError("--report of a folder takes neither --out nor --part")
        _report(StudyFolder(study))
        return
    folder = StudyFolder(out or Path("runs") / study.stem)
    check_folder(folder.path)
    from videonl.cli.study_file import read_study  # late: it takes seconds, and a report needs none of it

    planned = read_study(study)
    folder.begin(planned)
    ended = _run(planned, folder, share, jobs)
    if report or all(folder.of(cell).is_finished for cell in planned.cells):
        _report(folder)
    else:
        _say(f"its report, also while it runs: videonl study {folder.path} --report")
    if ended.failed:
        raise IncompleteError(
            f"{len(ended.failed)} of {len(planned.cells)} cells failed: {', '.join(ended.failed)}; "
            "their reasons are above. Repeat the command to try them again"
        )


def _share(part: str | None) -> tuple[int, int]:
    if part is None:
        return 1, 1
    match = _PART.fullmatch(part)
    number, num_parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= num_parts:
        raise UserError(f"--part must be i/n with i from 1 to n, such as 2/4, got {part!r}")
    return number, num_parts


def _run(study: Study, folder: StudyFolder, share: tuple[int, int], jobs: int) -> Ended:
    cells = study.part(*share)
    _say(f"study {study.name}: {len(study.cells)} cells in {folder.path}, of which this command runs {len(cells)}")
    ended = Runner(folder, study.name, jobs, _say).run(cells)
    if ended.elsewhere:
        _say(f"left to other processes: {', '.join(ended.elsewhere)}")
    return ended


def _report(folder: StudyFolder) -> None:
    results = read_results(folder)
    for path in write_report(folder.path, results):
        _say(str(path))
    print_report(Console(), results)


def _say(text: str) -> None:
    Console().print(text, soft_wrap=True, highlight=False, markup=False)
