"""Hyperopt's TPE. Conditions are its own: branches of `hp.choice`, a parameter of several branches shared by them."""

import math
from typing import Any

from benchmarks.tuning.adapters.common import Ask, Tell, children, grid, is_parent, unnested
from visutility.tune import Choice, Float, Params, Space


def hyperopt_tpe(space: Space, seed: int, _budget: int) -> tuple[Ask, Tell]:
    """`tpe.suggest` with its defaults, asked and told as `fmin` does."""
    import hyperopt
    import numpy as np

    tree = Tree(space)
    domain = hyperopt.Domain(lambda _: 0.0, tree.root)
    trials = hyperopt.Trials()
    draw = np.random.default_rng(seed)

    def ask() -> tuple[Any, Params]:
        ids = trials.new_trial_ids(1)
        (doc,) = hyperopt.tpe.suggest(ids, domain, trials, int(draw.integers(2**31 - 1)))
        trials.insert_trial_docs([doc])
        trials.refresh()
        chosen = {name: values[0] for name, values in doc["misc"]["vals"].items() if values}
        return doc["tid"], unnested(space, hyperopt.space_eval(tree.root, chosen))

    def tell(tid: Any, loss: float) -> None:
        doc = next(d for d in reversed(trials._dynamic_trials) if d["tid"] == tid)
        ok = math.isfinite(loss)
        doc["result"] = {"loss": loss, "status": hyperopt.STATUS_OK} if ok else {"status": hyperopt.STATUS_FAIL}
        doc["state"] = hyperopt.JOB_STATE_DONE
        trials.refresh()

    return ask, tell


class Tree:
    """A space as Hyperopt writes it."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._made: dict[str, Any] = {}
        self.root = {n: self._node(n) for n, p in space.parameters.items() if p.when is None}

    def _node(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Any:
        from hyperopt import hp
        from hyperopt.pyll import scope

        p: Any = self._space.parameters[name]
        if isinstance(p, Choice) or is_parent(self._space, name):
            return hp.choice(
                name,
                [
                    {"value": value, **{other: self._node(other) for other in children(self._space, name, value)}}
                    for value in grid(p)
                ],
            )
        if isinstance(p, Float):
            return hp.loguniform(name, math.log(p.low), math.log(p.high)) if p.log else hp.uniform(name, p.low, p.high)
        if p.log:
            return scope.int(hp.qloguniform(name, math.log(p.low - 0.499), math.log(p.high + 0.499), 1))
        return scope.int(hp.quniform(name, p.low - 0.499, p.high + 0.499, 1))
