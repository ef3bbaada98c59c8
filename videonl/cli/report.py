"""``videonl report``: rebuild the report of an evaluation from its record."""

from pathlib import Path

from videonl.cli.refusals import require_at_least
from videonl.errors import UserError
from videonl.evaluation import Average, read_record
from videonl.evaluation.report import NUM_MISTAKES, confusion_of, print_evaluation, write_page
from videonl.evaluation.views import ONE_LABEL, SEVERAL_LABELS, average_for
from videonl.outputs import check_file
from videonl.terminal import Console


def report(
    record: Path, out: Path | None = None, average: Average | None = None, num_mistakes: int = NUM_MISTAKES
) -> None:
    """Prints the accuracies of a record and writes its page and confusion matrix.

    Args:
        record: A .parquet file of videonl test or videonl evaluate.
        out: The HTML file to write; by default beside the record, with its name.
        average: What is averaged over the views of a video, softmax or logits, of several labels sigmoid or max; by
            default as in the evaluation.
        num_mistakes: How many of the worst mistakes to show.
    """
    console = Console()
    require_at_least(0, num_mistakes=num_mistakes)
    page = out or record.with_suffix(".html")
    for path in (page, confusion_of(page)):
        check_file(path, [record])
    evaluated = read_record(record)
    if average is not None:
        evaluated = evaluated.averaged_by(
            average_for(SEVERAL_LABELS if evaluated.has_several_labels else ONE_LABEL, average)
        )
    if not evaluated.labeled:
        raise UserError(f"{record}: no video in it has a known class, so there is nothing to report")
    confusion = write_page(page, evaluated, num_mistakes)
    print_evaluation(console, evaluated.labeled, len(evaluated.unreadable), evaluated.threshold)
    for path in (page,) if evaluated.has_several_labels else (page, confusion):
        console.print(str(path), soft_wrap=True, highlight=False, markup=False)
