"""How close the shares of splits came, in words."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from videonl.data.splitting.shares import class_counts, num_groups

_NUM_SHOWN = 10


def told(
    groups: Sequence[str],
    labels: Sequence[Sequence[str]],
    split_of: Mapping[str, int],
    wanted: Sequence[float],
    names: Sequence[str],
) -> list[str]:
    """How close the shares came: those of all videos, and of the classes that are furthest off.

    Args:
        groups: The group of each video.
        labels: The classes of each video.
        split_of: The number of the split of each group.
        wanted: The share of each split.
        names: The names of the splits.

    Returns:
        Lines. They name the classes that are not in every split.
    """
    videos, sizes = Counter(split_of[group] for group in groups), Counter(split_of.values())
    lines = []
    for place, (name, share) in enumerate(zip(names, wanted, strict=True)):
        got = f"{videos[place]} videos in {sizes[place]} groups, {videos[place] / len(groups):.1%}"
        lines.append(f"{name}: {got} (wanted {share:.1%})")
    counts = class_counts(groups, labels)
    number_of = num_groups(counts)
    shares = _shares_of_classes(counts, split_of, len(wanted))
    off = {label: max(abs(a - b) for a, b in zip(each, wanted, strict=True)) for label, each in shares.items()}
    furthest = sorted(off, key=lambda label: (-off[label], label))
    lines.append(f"classes, by {', '.join(names)}; those furthest from the wanted shares first:")
    lines += _listed([f"{label}: {', '.join(f'{share:.1%}' for share in shares[label])}" for label in furthest])
    lacking = [label for label in sorted(shares) if 0 in shares[label]]
    if lacking:
        lines.append(f"classes that some splits lack, because they have few groups: {len(lacking)}")
        lines += _listed([f"{label}: groups: {number_of[label]}" for label in lacking])
    return lines


def _shares_of_classes(
    counts: Mapping[str, Counter[str]], split_of: Mapping[str, int], num_splits: int
) -> dict[str, list[float]]:
    videos: dict[str, list[int]] = defaultdict(lambda: [0] * num_splits)
    for group, of_group in counts.items():
        for label, number in of_group.items():
            videos[label][split_of[group]] += number
    return {label: [number / sum(numbers) for number in numbers] for label, numbers in videos.items()}


def _listed(items: Sequence[str]) -> list[str]:
    more = [f"  and {len(items) - _NUM_SHOWN} more"] if len(items) > _NUM_SHOWN else []
    return [*(f"  {item}" for item in items[:_NUM_SHOWN]), *more]
