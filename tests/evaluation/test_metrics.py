"""Accuracies, confusions and calibration against numbers worked out by hand."""

import pytest
import torch
from torch import Tensor

from videonl.evaluation import accuracies
from videonl.evaluation.metrics import calibration, confusion_matrix


def ranking(*orders: list[int]) -> Tensor:
    """One row per video whose largest probability is the first class named, and so on."""
    rows = torch.zeros(len(orders), len(orders[0]), dtype=torch.float64)
    for row, order in zip(rows, orders, strict=True):
        for place, index in enumerate(order):
            row[index] = len(order) - place
    return rows / rows.sum(dim=1, keepdim=True)


def test_top1_counts_videos_and_mean_class_counts_classes() -> None:
    # Class 0: 3 of 4 right. Class 1: 0 of 1. Class 2: 1 of 2.
    first = [0, 0, 0, 1, 0, 2, 1]
    probabilities = ranking(*([index, *({0, 1, 2} - {index})] for index in first))
    metrics = accuracies(probabilities, torch.tensor([0, 0, 0, 0, 1, 2, 2]))
    assert metrics == pytest.approx(
        {
            "top1": 4 / 7,
            "mean_class": (3 / 4 + 0 + 1 / 2) / 3,
            "macro_f1": (2 * 3 / (4 + 4) + 0 + 2 * 1 / (2 + 1)) / 3,  # twice the right ones over true and predicted
        }
    )


def test_macro_f1_and_balanced_accuracy_are_scikit_learn_s() -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is absent")
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(61, 7, generator=generator, dtype=torch.float64)
    labels = torch.randint(6, (61,), generator=generator)  # the last class is predicted only
    metrics, predictions = accuracies(probabilities, labels), probabilities.argmax(dim=1)
    assert metrics["macro_f1"] == pytest.approx(sklearn.f1_score(labels, predictions, average="macro"), abs=1e-10)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = sklearn.balanced_accuracy_score(labels, predictions)
    assert metrics["mean_class"] == pytest.approx(balanced, abs=1e-10)


def test_classes_that_nobody_has_do_not_count() -> None:
    # Class 1 is predicted once, class 2 neither predicted nor true.
    probabilities = ranking([0, 1, 2, 3], [1, 0, 2, 3], [3, 0, 1, 2])
    metrics = accuracies(probabilities, torch.tensor([0, 0, 3]))
    assert metrics["mean_class"] == pytest.approx((1 / 2 + 1) / 2)


def test_top5_takes_the_true_class_among_the_first_five() -> None:
    order = [6, 2, 4, 0, 1, 5, 3]
    probabilities = ranking(*[order] * 4)
    metrics = accuracies(probabilities, torch.tensor([6, 1, 5, 3]))  # places 1, 5, 6 and 7
    assert metrics["top1"] == pytest.approx(1 / 4)
    assert metrics["top5"] == pytest.approx(2 / 4)
    assert metrics["mean_class"] == pytest.approx(1 / 4)
    assert list(metrics) == ["top1", "top5", "mean_class", "macro_f1"]


@pytest.mark.parametrize(("num_classes", "has_top5"), [(2, False), (5, False), (6, True)])
def test_top5_needs_more_than_five_classes(num_classes: int, has_top5: bool) -> None:
    metrics = accuracies(torch.eye(num_classes, dtype=torch.float64), torch.arange(num_classes))
    assert ("top5" in metrics) is has_top5
    assert set(metrics.values()) == {1.0}


def test_one_video_is_enough() -> None:
    assert accuracies(ranking([1, 0, 2]), torch.tensor([1])) == {"top1": 1.0, "mean_class": 1.0, "macro_f1": 1.0}


def test_confusions_have_a_row_for_each_true_class() -> None:
    probabilities = ranking([0, 1, 2], [1, 0, 2], [1, 0, 2], [2, 0, 1])
    assert confusion_matrix(probabilities, torch.tensor([0, 0, 0, 1])).tolist() == [[1, 2, 0], [0, 0, 1], [0, 0, 0]]


def test_calibration_compares_confidence_with_accuracy_bin_by_bin() -> None:
    # Bins of a half: 0.3 (wrong) and 0.4 (right); 0.6 (right), 0.8 (wrong), 1 (right).
    probabilities = torch.tensor(
        [[0.3, 0.25, 0.25, 0.2], [0.4, 0.3, 0.2, 0.1], [0.6, 0.4, 0, 0], [0.8, 0.2, 0, 0], [1, 0, 0, 0]],
        dtype=torch.float64,
    )
    found = calibration(probabilities, torch.tensor([1, 0, 0, 1, 0]), num_bins=2)
    assert found.counts.tolist() == [2, 3]
    assert found.confidences.tolist() == pytest.approx([0.35, 0.8])
    assert found.accuracies.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert found.error == pytest.approx(2 / 5 * 0.15 + 3 / 5 * (0.8 - 2 / 3), abs=1e-6)


def test_bins_make_up_the_error() -> None:
    generator = torch.Generator().manual_seed(5)
    probabilities = (3 * torch.randn(211, 7, generator=generator)).double().softmax(dim=1)
    found = calibration(probabilities, torch.randint(7, (211,), generator=generator))
    gaps = (found.confidences - found.accuracies).abs()
    assert found.error == pytest.approx(float((gaps * found.counts).sum() / 211), abs=1e-6)


def test_rounding_above_one_is_not_taken_for_logits() -> None:
    probabilities = torch.tensor([[1 + 2**-52, 0.0], [0.5, 0.5]], dtype=torch.float64)
    assert calibration(probabilities, torch.tensor([0, 0])).error == pytest.approx(0.25)


@pytest.mark.parametrize("num_classes", [7, 401])
def test_of_equally_probable_classes_the_first_is_the_answer_in_every_figure(num_classes: int) -> None:
    probabilities = torch.full((7, num_classes), 1 / num_classes, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 4, 5, 6])
    macro_f1 = 2 * 3 / (3 + 7) / 5  # all seven are taken for class 0
    expected = {"top1": 3 / 7, "top5": 5 / 7, "mean_class": 1 / 5, "macro_f1": macro_f1}
    assert accuracies(probabilities, labels) == pytest.approx(expected)
    assert confusion_matrix(probabilities, labels)[:, 0].tolist()[:7] == [3, 1, 0, 0, 1, 1, 1]
    assert float(calibration(probabilities, labels).accuracies.max()) == pytest.approx(3 / 7)


def test_one_class_is_enough() -> None:
    probabilities, labels = torch.ones(3, 1, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    assert accuracies(probabilities, labels) == {"top1": 1.0, "mean_class": 1.0, "macro_f1": 1.0}
    assert confusion_matrix(probabilities, labels).tolist() == [[3]]
    assert calibration(probabilities, labels).error == 0


def test_a_bin_has_its_upper_edge_and_the_last_one_all_that_is_certain() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [1, 0], [1, 0], [0.75, 0.25]], dtype=torch.float64)
    found = calibration(probabilities, torch.tensor([0, 0, 1, 1]), num_bins=2)
    assert found.counts.tolist() == [1, 3]
    # 1 and 0.75 share a bin: two of three sure answers are wrong.
    assert found.error == pytest.approx(1 / 4 * 0.5 + 3 / 4 * (2.75 / 3 - 1 / 3))


def test_what_is_no_number_is_no_hit() -> None:
    probabilities = torch.tensor([[torch.nan] * 7, [0.4] + [0.1] * 6], dtype=torch.float64)
    half = {"top1": 0.5, "top5": 0.5, "mean_class": 0.5, "macro_f1": 2 / 3}  # of 2 true ones 1 is predicted, and right
    assert accuracies(probabilities, torch.tensor([0, 0])) == pytest.approx(half)
