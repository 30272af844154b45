"""Explains anomalies in plain words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tensorflow_metadata.proto.v0 import path_pb2

WHOLE_SPLIT = "(whole split)"

_Reason = anomalies_pb2.AnomalyInfo
_WHAT_TO_DO = {
    _Reason.SCHEMA_NEW_COLUMN: (
        "remove the feature from the examples, or add it to transforms/fields.py and run "
        "`python -m transforms.schema`; a target in training timelines means that the split leaks"
    ),
    _Reason.FEATURE_TYPE_LOW_FRACTION_PRESENT: "fill the column in the event log",
    _Reason.FEATURE_TYPE_LOW_NUMBER_PRESENT: "fill the column in the event log",
    _Reason.FEATURE_TYPE_HIGH_NUMBER_VALUES: "write one value an example",
    _Reason.FEATURE_TYPE_LOW_NUMBER_VALUES: "write one value an example",
    _Reason.UNEXPECTED_DATA_TYPE: "write the type that transforms/fields.py declares",
    _Reason.FLOAT_TYPE_HAS_NAN: "leave unknown numbers out of the event log instead of NaN",
    _Reason.FLOAT_TYPE_HAS_INF: "leave unknown numbers out of the event log instead of infinity",
    _Reason.FLOAT_TYPE_SMALL_FLOAT: "mend or leave out the values below the minimum",
    _Reason.INT_TYPE_SMALL_INT: "mend or leave out the values below the minimum",
}
_OTHERWISE = "mend the column in the event log, or change the field in transforms/fields.py"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One anomaly of one feature.

    Attributes:
        split: The split that has it.
        feature: The feature's name, or `(whole split)`.
        short: What it is, in a few words.
        description: What was expected and received.
        what_to_do: What mends it.
    """

    split: str
    feature: str
    short: str
    description: str
    what_to_do: str

    def __str__(self) -> str:
        return (
            f"{self.split}: {self.feature}: {self.short}. {self.description} "
            f"What to do: {self.what_to_do}."
        )


def findings(split: str, anomalies: anomalies_pb2.Anomalies) -> list[Finding]:
    """Lists the anomalies of a split, by feature.

    Args:
        split: The split's name.
        anomalies: What TFDV found in its statistics.

    Returns:
        One finding for each reason of each feature.
    """
    found = []
    if anomalies.data_missing:
        found.append(
            Finding(
                split,
                WHOLE_SPLIT,
                "No examples",
                "Expected at least one example, received none.",
                "look at the example generator's report and at the dates of the split",
            )
        )
    if anomalies.HasField("dataset_anomaly_info"):
        found += _reasons(split, WHOLE_SPLIT, anomalies.dataset_anomaly_info)
    for name, info in sorted(anomalies.anomaly_info.items()):
        found += _reasons(split, _feature_name(info.path) or name, info)
    return found


def message(found: Sequence[Finding]) -> str:
    """Returns the text of the error for at least one finding."""
    features = ", ".join(sorted({f"{one.split}:{one.feature}" for one in found}))
    lines = [f"The examples do not fit the schema ({len(found)} anomalies: {features})."]
    return "\n  ".join(lines + [str(one) for one in found])


def _feature_name(path: path_pb2.Path) -> str:
    return "/".join(path.step)


def _reasons(split: str, feature: str, info: anomalies_pb2.AnomalyInfo) -> list[Finding]:
    reasons = list(info.reason) or [info]
    return [
        Finding(
            split,
            feature,
            reason.short_description,
            reason.description.rstrip(".") + ".",
            _WHAT_TO_DO.get(reason.type, _OTHERWISE) if reason is not info else _OTHERWISE,
        )
        for reason in reasons
    ]
