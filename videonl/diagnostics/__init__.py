"""What attention blocks do over many clips: where they look, what they are worth, and what that says in words."""

from videonl.diagnostics.diagnosis import BlockDiagnosis, DiagnosedClip, Diagnosis
from videonl.diagnostics.findings import Finding, read_block

__all__ = ["BlockDiagnosis", "DiagnosedClip", "Diagnosis", "Finding", "read_block"]
