"""The record of a study, and which studies a folder takes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from videonl.errors import UserError
from videonl.study import Study, StudyFolder

MakeStudy = Callable[..., Study]


def with_fit(study: Study, fit: Mapping[str, Any]) -> Study:
    return replace(study, cells=tuple(replace(cell, fit=fit) for cell in study.cells))


def test_a_record_is_read_as_it_was_written(make_study: MakeStudy, folder: StudyFolder) -> None:
    study = make_study(folds=["a", "b"], metric="mean_class")
    folder.begin(study)
    assert folder.read() == study
    folder.begin(study)


def test_another_study_is_refused(make_study: MakeStudy, folder: StudyFolder) -> None:
    study = make_study(["none"])
    folder.begin(with_fit(study, {"model": {"lr": 1, "decay": {3: 5}}}))
    folder.begin(with_fit(study, {"model": {"lr": 1, "decay": {3: 5}}}))
    with pytest.raises(UserError, match=r"another study: cell none-seed0 has another model\.lr there; choose another"):
        folder.begin(with_fit(study, {"model": {"lr": 2, "decay": {3: 5}}}))
    tested = replace(study, cells=tuple(replace(cell, test={"views": 3}) for cell in study.cells))
    with pytest.raises(UserError, match=r"has another test\.views there"):
        folder.begin(with_fit(tested, {"model": {"lr": 1, "decay": {3: 5}}}))
    with pytest.raises(UserError, match="another study: it has none-seed0 and not axial-seed0; choose another --out"):
        folder.begin(make_study(["axial"]))


def test_a_study_may_grow_and_be_run_in_part(make_study: MakeStudy, folder: StudyFolder) -> None:
    small, grown = make_study(["none"], [1]), make_study(["none", "axial"], [0, 1])
    for study in (small, grown, small):
        folder.begin(study)
    assert folder.read() == grown


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1, "cells": [], "costs": {}}'])
def test_a_record_that_is_none_is_refused(folder: StudyFolder, content: str) -> None:
    folder.path.mkdir()
    (folder.path / "study.json").write_text(content)
    with pytest.raises(UserError, match="is not the record of a study"):
        folder.read()


def test_a_folder_without_a_study_is_refused(folder: StudyFolder) -> None:
    with pytest.raises(UserError, match="holds no study"):
        folder.read()
