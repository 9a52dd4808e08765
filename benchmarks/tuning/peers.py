"""Who takes part: ours, the two controls, and every peer at its best documented setting.

A peer whose package cannot be imported is listed as not installed, never left out. `make bench-tuning` installs them
into an environment of their own (requirements/bench.txt).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.tuning.adapters import hyperopts, models, nevergrads, optunas
from benchmarks.tuning.adapters.common import Start
from benchmarks.tuning.adapters.ours import ours, random_control, shuffled_control

OURS = "visutility"
CONTROLS = ("control: random", "control: shuffled")
SOURCE = Path(__file__).parents[2] / "src" / "visutility"


@dataclass(frozen=True)
class Peer:
    """`needs`: packages it imports, empty for what is ours; `revision` changes when its adapter does.

    `steady`: it is not told how many trials there will be, so a short run is how a longer one begins.
    """

    name: str
    start: Start
    needs: tuple[str, ...] = ()
    revision: int = 1
    check: Callable[[], object] | None = None
    steady: bool = False

    @property
    def missing(self) -> str | None:
        """Why it cannot take part; None when it can."""
        try:
            for package in self.needs:
                import_module(package)
            if self.check is not None:
                self.check()
        except Exception as error:  # noqa: BLE001 (a peer may fail to import in any way)
            return f"{type(error).__name__}: {error}".partition("\n")[0][:100]
        return None

    @property
    def identity(self) -> str:
        """What its results depend on: our source, or the versions of what it imports."""
        if not self.needs:
            return f"{self.revision}/{source_digest()}"
        return "/".join([str(self.revision), *(f"{name} {_version(name)}" for name in self.needs)])


@cache
def source_digest() -> str:
    """The SHA-256 of the tuner's source, and NumPy's and SciPy's versions."""
    found = hashlib.sha256()
    for path in sorted([*(SOURCE / "tune").rglob("*.py"), SOURCE / "core" / "rng.py"]):
        found.update(path.relative_to(SOURCE).as_posix().encode() + path.read_bytes())
    return f"{found.hexdigest()[:16]}/numpy {version('numpy')}/scipy {version('scipy')}"


def _version(package: str) -> str:
    names = {"hebo": "HEBO", "syne_tune": "syne-tune", "ax": "ax-platform"}
    try:
        return version(names.get(package, package))
    except PackageNotFoundError:
        return "?"


def _load_auto() -> object:
    import optunahub

    return optunahub.load_module("samplers/auto_sampler")


OPTUNA = ("optuna",)
GP = ("optuna", "torch")
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(OURS, ours("auto")),
        Peer("optuna tpe", optunas.optunas(optunas.tpe_multivariate), OPTUNA),
        Peer("optuna tpe, default", optunas.optunas(optunas.tpe), OPTUNA),
        Peer("optuna gp", optunas.optunas(optunas.gp), GP),
        Peer("optuna gp, flat", optunas.optunas(optunas.gp, flat=True), GP),
        Peer("optuna auto", optunas.optunas(optunas.auto), ("optuna", "optunahub"), check=_load_auto),
        Peer("optuna cma-es", optunas.optunas(optunas.cmaes), ("optuna", "cmaes")),
        Peer("hyperopt tpe", hyperopts.hyperopt_tpe, ("hyperopt",)),
        Peer("nevergrad ngopt", nevergrads.nevergrad_ngopt, ("nevergrad",)),
        Peer("smac3", models.smac, ("smac",)),
        Peer("syne tune cqr", models.syne_tune, ("syne_tune",), steady=True),
        Peer("ax", models.ax, ("ax",), steady=True),
        Peer("hebo", models.hebo, ("hebo",), steady=True),
        Peer(CONTROLS[0], random_control),
        Peer(CONTROLS[1], shuffled_control),
    )
}
