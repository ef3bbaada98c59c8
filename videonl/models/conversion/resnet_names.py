"""How projects name the modules of a bottleneck ResNet, as tables from their names to ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from videonl.errors import UserError

STAGES = range(2, 6)
MOST_RESIDUALS = 36  # of a stage, in the deepest ResNets
DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101}
PARTS = ("conv_a", "norm_a", "conv_b", "norm_b", "conv_c", "norm_c")
Branch = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class ResNetNames:
    """The names of one project. ``{stage}`` is 2 for res2, ``{layer}`` is 1 for it, ``{index}`` counts residuals.

    ``{position}`` is what ``positions`` says for the stage.

    Attributes:
        stem: Convolution and norm of the stem.
        shortcut: Convolution and norm of a residual's shortcut.
        branch: The six modules of its branch, in the order of ``PARTS``.
        head: The classifier.
        block: Ours by theirs, for the modules of a non-local block.
        separator: What stands between a module's name and its parameter's.
        parameters: Ours by theirs, where parameters have other names.
        positions: By stage, where a project counts its stages among other things.
    """

    stem: tuple[str, str]
    shortcut: tuple[str, str]
    branch: Branch
    head: str
    block: Mapping[str, str] = field(default_factory=dict)
    separator: str = "."
    parameters: Mapping[str, str] = field(default_factory=dict)
    positions: Mapping[int, int] = field(default_factory=dict)

    def modules(self) -> dict[str, str]:
        """Our place of every module that a file may have, by its name there."""
        places = {self.stem[0]: "stem.conv", self.stem[1]: "stem.norm", self.head: "head.proj"}
        residual = {
            **dict(zip(self.shortcut, ("branch1_conv", "branch1_norm"), strict=True)),
            **{theirs: f"branch2.{ours}" for theirs, ours in zip(self.branch, PARTS, strict=True)},
            **{theirs: f"block.{ours}" for theirs, ours in self.block.items()},
        }
        for stage in STAGES:
            numbers = {"stage": stage, "layer": stage - 1, "position": self.positions.get(stage)}
            for index in range(MOST_RESIDUALS):
                for theirs, ours in residual.items():
                    places[theirs.format(**numbers, index=index)] = f"res{stage}.{index}.{ours}"
        return places

    def rename(self, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Renames the weights of a file.

        Returns:
            The weights by place, and the keys that the project's ResNets do not have.
        """
        modules = self.modules()
        placed, left_over = {}, []
        for key, weight in weights.items():
            module, _, parameter = key.rpartition(self.separator)
            if module in modules and (not self.parameters or parameter in self.parameters):
                placed[f"{modules[module]}.{self.parameters.get(parameter, parameter)}"] = weight
            else:
                left_over.append(key)
        return placed, left_over


def backbone_of(placed: Mapping[str, Tensor]) -> str:
    """Our name of the ResNet whose weights these are, from its residuals and its temporal kernels.

    Raises:
        UserError: When it is none of ours.
    """
    residuals = {tuple(key.split(".")[:2]) for key in placed if key.startswith("res")}
    counts = tuple(sum(stage == f"res{number}" for stage, _ in residuals) for number in STAGES)
    if counts not in DEPTHS:
        known = ", ".join(f"{counts} of a ResNet-{depth}" for counts, depth in DEPTHS.items())
        raise UserError(
            f"the file has {counts} residuals in res2 to res5 under the names of this layout; known are {known}. It "
            "may be a checkpoint of another project (--from), or of another kind of network"
        )
    stem, res4 = (_temporal_kernel(placed, key) for key in ("stem.conv.weight", "res4.0.branch2.conv_a.weight"))
    variant = "i3d" if stem > 1 else "slow" if res4 > 1 else "c2d"
    return f"{variant}_r{DEPTHS[counts]}"


def _temporal_kernel(placed: Mapping[str, Tensor], key: str) -> int:
    if key not in placed:
        raise UserError(f"the file lacks the weights of {key}")
    weight = placed[key]
    return weight.shape[2] if weight.ndim == 5 else 1
