"""Every error this package raises, named by what the caller does next.

    VisuTilityError
    ├── Invalid        correct the input, then call again
    ├── NotFound       name something that exists
    ├── Conflict       the world moved: read again, then decide again
    ├── Unavailable    nothing is wrong with the call: wait, then make the same one
    ├── SetupNeeded    a person changes the machine or the installation, then the same call works
    ├── Damaged        stop, keep the files as they are, and look
    ├── Failed         code that a user wrote failed: read the reason and mend it
    └── Cancelled      somebody asked for it to stop; nothing to do

A message shows the value, the rule it broke and, as `hint`, the next move. An error says the same in another process:
it pickles with its message and hint. `exit_code` is what the command line ends with.
"""

from typing import ClassVar


class VisuTilityError(Exception):
    """Base of all errors here. `problem` says what is wrong with which value, `hint` the next move."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}. {self.hint}" if self.hint else self.problem

    def __reduce__(self) -> "tuple[object, ...]":
        return _rebuild, (type(self), self.problem, self.hint)


def _rebuild(kind: type[VisuTilityError], problem: str, hint: str) -> VisuTilityError:
    return kind(problem, hint=hint)


class Invalid(VisuTilityError, ValueError):
    """The input breaks a rule: correct it, then call again."""

    exit_code = 2


class InvalidSpace(Invalid):
    """A search space that cannot be searched: bad bounds, an unknown or circular condition."""


class InvalidParameter(Invalid):
    """A parameter that the space does not have, lacks, or does not allow at that value."""


class InvalidObservation(Invalid):
    """A value that a detector or study cannot use: not finite, outside the declared range."""


class InvalidSetting(Invalid):
    """A setting outside its range."""


class InvalidName(Invalid):
    """A name that does not fit the one pattern names have."""


class InvalidImage(Invalid):
    """Bytes that are not an image we can decode, or an array of the wrong shape or type."""


class InvalidData(Invalid):
    """A data batch or source that breaks its schema: missing column, duplicate id, wrong type."""


class EmptyWindow(Invalid):
    """A data window with no rows, or fewer than the call needs."""


class MissingMetric(Invalid):
    """A metric that a policy, gate or objective needs was not reported."""


class UnsafeFormat(Invalid):
    """An artifact in a format that could run code, or holding a type outside the allow-list."""


class NotFound(VisuTilityError, LookupError):
    """Nothing has that name: name something that exists."""

    exit_code = 3


class ModelNotFound(NotFound):
    """No model has that name."""


class VersionNotFound(NotFound):
    """The model has no version with that number."""


class AliasNotFound(NotFound):
    """The model has no alias with that name."""


class StudyNotFound(NotFound):
    """No study has that id or name."""


class TrialNotFound(NotFound):
    """The study has no trial with that number."""


class RunNotFound(NotFound):
    """No run has that id."""


class WorkflowNotFound(NotFound):
    """No workflow of that name and version is known to this process."""


class RecipeNotFound(NotFound):
    """The import path names no recipe."""


class StreamNotFound(NotFound):
    """The detector or fleet watches no stream with that name or number."""


class PredictionNotFound(NotFound):
    """No prediction with that id is kept: its label came too early or too late."""


class BlobNotFound(NotFound):
    """No bytes with that hash are stored."""


class Conflict(VisuTilityError):
    """The world is not as the caller last saw it: read again, then decide again."""

    exit_code = 4


class AlreadyExists(Conflict):
    """The name is taken."""


class AliasMoved(Conflict):
    """Somebody moved the alias first."""


class NothingToRollBack(Conflict):
    """No version was champion before this one."""


class Immutable(Conflict):
    """A registered row cannot be changed or deleted; register a new version instead."""


class Fenced(Conflict):
    """The lease of this run passed to another worker; this one must stop."""


class TrialClosed(Conflict):
    """The trial was told already."""


class StudyClosed(Conflict):
    """The study takes no more trials."""


class NotWaiting(Conflict):
    """The run is not waiting for an answer."""


class LabelContradicted(Conflict):
    """A label, or a prediction, says something else than an earlier one of the same id."""


class RunEnded(Conflict):
    """The run is done, failed or cancelled; nothing about it can change any more."""


class Unavailable(VisuTilityError):
    """Nothing is wrong with the call: wait, then make the same one."""

    exit_code = 5


class QueueFull(Unavailable):
    """More work than the bounded queue holds."""


class DatabaseBusy(Unavailable):
    """Another writer held the database for longer than the busy timeout."""


class Closed(Unavailable):
    """The queue, coordinator or executor was closed."""


class SetupNeeded(VisuTilityError):
    """A person changes the machine or the installation, then the same call works."""

    exit_code = 6


class NoProject(SetupNeeded):
    """There is no project in this folder."""


class MissingExtra(SetupNeeded, ImportError):
    """An optional package is not installed."""


class ReadOnly(SetupNeeded):
    """The folder or database cannot be written by this user."""


class DiskFull(SetupNeeded):
    """There is no space left; nothing was half-written."""


class DatabaseTooNew(SetupNeeded):
    """A newer release wrote this database."""


class Damaged(VisuTilityError):
    """Stop, keep the files as they are, and look."""

    exit_code = 7


class ArtifactTampered(Damaged):
    """The bytes of an artifact do not have the hash that was registered."""


class DatabaseDamaged(Damaged):
    """The file is not a whole database."""


class AuditBroken(Damaged):
    """The audit log or a table it covers was changed behind its back."""


class Failed(VisuTilityError):
    """Code that a user wrote failed: read the reason and mend it."""

    exit_code = 8


class RecipeFailed(Failed):
    """A recipe raised, or returned something a recipe may not return."""


class TrialFailed(Failed):
    """A trial ended without a value: it raised, ran out of time or memory, died, or gave NaN."""


class WorkflowDiverged(Failed):
    """The code of a workflow asks for other steps than its run has recorded."""


class Cancelled(VisuTilityError):
    """Somebody asked for it to stop."""

    exit_code = 130
