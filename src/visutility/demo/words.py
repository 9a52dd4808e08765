"""What the demo's numbers mean, said plainly and no better than they are."""

from visutility.demo.result import Told

NOTABLE = 0.02  # three of 150 gate rows; less is noise
ROWS = (
    ("version 1, before the drift", "before", "served images"),
    ("version 1, camera turned", "drifted", "the gate's fresh rows"),
    ("version 2, camera turned", "promoted", "the same rows"),
    ("  with version 1's settings", "promoted_with_old_settings", "the same rows"),
    ("version 1, old world", "old_before", "held-out old rows"),
    ("version 2, old world", "old_promoted", "the same rows"),
    ("in service after the promotion", "recovered", "served images"),
    ("in service during the control", "control", "served images"),
)


def rows(told: Told) -> list[tuple[str, float, str]]:
    """Return what was measured: (model, accuracy, on which rows)."""
    accuracy = told.to_json()["accuracy"]
    return [(what, accuracy[key], on) for what, key, on in ROWS if accuracy[key] is not None]


def in_words(told: Told) -> list[str]:
    """Return the story's end: what was noticed, what retraining gave, what re-tuning added, what the control did."""
    return [line for line in (_noticed(told), _gave(told), _added(told), _control(told)) if line]


def _noticed(told: Told) -> str:
    if told.drift_start is None:
        return "The camera never turned." + (
            f" There was a false alarm at image {told.alarm}." if told.alarms else " There was no alarm."
        )
    if told.alarm is None:
        return f"The camera began to turn at image {told.drift_start}, and nothing noticed."
    if told.alarm < told.drift_start:
        return f"There was a false alarm at image {told.alarm}; the camera began to turn at image {told.drift_start}."
    return (
        f"The camera began to turn at image {told.drift_start}; the alarm came at image {told.alarm}, "
        f"{told.alarm - told.drift_start} images later, and there was none before."
    )


def _gave(told: Told) -> str:
    before, after = told.gated("champion", "gate"), told.gated("challenger", "gate")
    if before is None or after is None:
        return ""
    if told.promotion is None:
        gave = f"Retraining gave {after - before:+.3f} accuracy on fresh rows"
        return f"{gave}, and the gate did not pass it: {told.refused}."
    old_before, old_after = told.gated("champion", "old"), told.gated("challenger", "old")
    kept = "" if old_before is None or old_after is None else f", and {old_after - old_before:+.3f} on the old world"
    return f"Retraining gave {after - before:+.3f} accuracy on the same fresh rows{kept}."


def _added(told: Told) -> str:
    after = told.gated("challenger", "gate")
    if after is None or told.old_settings is None:
        return ""
    gain = after - told.old_settings
    size = "added nothing" if gain == 0 else f"{'added' if gain > 0 else 'cost'} {abs(gain):.3f}"
    same = f"the same rows trained with version 1's settings give {told.old_settings:.3f}"
    line = f"Re-tuning {size}: {same}."
    return line if gain >= NOTABLE else f"{line} On this data the fresh labels do the work, not the new settings."


def _control(told: Told) -> str:
    if told.control_start is None:
        return ""
    alarms = sum(at >= told.control_start for at in told.alarms)
    return f"Control: under mild JPEG compression there were {alarms} alarms and {told.control_promotions} promotions."
