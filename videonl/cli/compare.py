"""``videonl compare A.parquet B.parquet``: the videos that one evaluation gets right and another gets wrong."""

from pathlib import Path

from videonl.cli.refusals import require_at_least
from videonl.evaluation import compare as compare_records
from videonl.evaluation import read_record
from videonl.evaluation.page import comparison_page
from videonl.evaluation.report import NUM_MISTAKES, print_comparison
from videonl.files import write_text
from videonl.outputs import check_file
from videonl.terminal import Console


def compare(a: Path, b: Path, out: Path = Path("comparison.html"), num_videos: int = NUM_MISTAKES) -> None:
    """Compares two evaluations of the same videos, video by video, and writes a page about it.

    Args:
        a: The baseline record, of videonl test or videonl evaluate.
        b: The record to compare with it.
        out: The HTML file to write.
        num_videos: How many fixed videos, and how many broken ones, the page shows.
    """
    console = Console()
    require_at_least(0, num_videos=num_videos)
    check_file(out, [a, b])
    comparison = compare_records(read_record(a), read_record(b))
    write_text(out, comparison_page(comparison, str(a), str(b), num_videos))
    print_comparison(console, comparison)
    console.print(str(out), soft_wrap=True, highlight=False, markup=False)
