"""Networks in words, of videonl and of others."""

from torch import nn

from videonl.evaluation.about import describe_network
from videonl.models import ClipClassifier, Insertion


def test_a_network_is_described_by_its_backbone_and_what_stands_where() -> None:
    blocks = [Insertion("nonlocal", {"res3": [1, 3]}, {"pairwise": "dot_product"}), Insertion("gc", {"res4": [5]})]
    network = ClipClassifier("c2d_r50", 7, blocks, width=3, backbone_options={"stride_profile": "long"})
    assert describe_network(network) == {
        "backbone": "c2d_r50, width 3, stride_profile long",
        "blocks": "nonlocal, dot product after res3.1, res3.3; gc after res4.5",
    }


def test_of_a_foreign_network_the_class_is_named() -> None:
    assert describe_network(nn.Identity()) == {"backbone": "Identity", "blocks": "none"}
