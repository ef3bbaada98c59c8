"""What a network costs, by shapes alone: nothing is computed."""

from videonl.profiling.memory import Memory, training_memory
from videonl.profiling.network import Row, profile_network
from videonl.profiling.operations import count_macs
from videonl.profiling.smallest import require_clip

__all__ = ["Memory", "Row", "count_macs", "profile_network", "require_clip", "training_memory"]
