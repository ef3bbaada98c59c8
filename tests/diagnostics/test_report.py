"""The page of a diagnosis, in a browser."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.blocks import NonLocal
from videonl.diagnostics import DiagnosedClip, Diagnosis
from videonl.diagnostics.figure import diagnosis_png
from videonl.diagnostics.report import DiagnosisReport, diagnosis_page


class Network(torch.nn.Module):
    """One block on a grid of 3 x 5 x 7."""

    def __init__(self) -> None:
        super().__init__()
        self.block = NonLocal(3)
        torch.nn.init.ones_(self.block.norm.weight)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.block(torch.nn.functional.avg_pool3d(clip, (2, 8, 8))).mean(dim=(2, 3, 4))


@pytest.mark.parametrize("width_px", [1200, 1360])
def test_no_column_of_its_tables_is_cut(browser: Any, tmp_path: Path, width_px: int) -> None:
    network = Network().eval()
    diagnosis = Diagnosis(network, {"res3.1": network.block}, ["a", "b", "c"], num_queries=13)
    diagnosis.add(DiagnosedClip(0, "a.mp4", 1, torch.rand(1, 3, 6, 40, 56), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]))
    (block,) = diagnosis.blocks_diagnosed()
    names = ["res3.1", "network.blocks.3.res_blocks.2.branch2"]
    blocks = [replace(block, name=name, grid=(16, 28, 28)) for name in names]
    report = DiagnosisReport({"videos": "clips.csv"}, 1, 0.5, blocks, diagnosis.all_off(), {})
    (tmp_path / "page.html").write_text(diagnosis_page(report, diagnosis_png(blocks)), encoding="utf-8")
    page = browser.new_page(viewport={"width": width_px, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    tables = page.evaluate("[...document.querySelectorAll('.wide')].map(each => [each.scrollWidth, each.clientWidth])")
    page.close()
    assert len(tables) == 3
    assert all(needed <= given for needed, given in tables)
