"""What passes between stages: frozen models, stored as JSON, checked on loading.

Every model is strict (no silent conversion), forbids unknown fields, and carries a schema version. Lengths are in mm
and counts in voxels where their name says so.
"""

from sammoe_pipeline.artefacts.base import Artefact, Record
from sammoe_pipeline.artefacts.case_properties import CaseProperties
from sammoe_pipeline.artefacts.configuration import Configuration
from sammoe_pipeline.artefacts.expert import ExpertCard, JudgedOn
from sammoe_pipeline.artefacts.file_hash import sha256_of
from sammoe_pipeline.artefacts.fingerprint import (
    CaseFingerprint,
    ChannelFingerprint,
    ClassFingerprint,
    DatasetFingerprint,
)
from sammoe_pipeline.artefacts.foundation import FoundationCard
from sammoe_pipeline.artefacts.locator import LocatorCard
from sammoe_pipeline.artefacts.mixture import (
    CalibrationPoint,
    LabelEntry,
    MixtureCard,
    MixtureDataset,
    MixtureExpert,
    thresholds_in_words,
)
from sammoe_pipeline.artefacts.origin import Provenance, provenance
from sammoe_pipeline.artefacts.plan import (
    Budget,
    CandidateEvidence,
    CandidateExpert,
    ClassPlan,
    Grouping,
    Plan,
    Task,
    Training,
)
from sammoe_pipeline.artefacts.splits import FoldSplit, Splits

__all__ = [
    "Artefact",
    "Budget",
    "CalibrationPoint",
    "CandidateEvidence",
    "CandidateExpert",
    "CaseFingerprint",
    "CaseProperties",
    "ChannelFingerprint",
    "ClassFingerprint",
    "ClassPlan",
    "Configuration",
    "DatasetFingerprint",
    "ExpertCard",
    "FoldSplit",
    "FoundationCard",
    "Grouping",
    "JudgedOn",
    "LabelEntry",
    "LocatorCard",
    "MixtureCard",
    "MixtureDataset",
    "MixtureExpert",
    "Plan",
    "Provenance",
    "Record",
    "Splits",
    "Task",
    "Training",
    "provenance",
    "sha256_of",
    "thresholds_in_words",
]
