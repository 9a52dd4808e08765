"""Twenty-four real tasks: the twelve that constants may be chosen on, and the twelve that are reported.

`from benchmarks.tuning.tasks import DEV, REPORTED`. The split is fixed: nothing of the tuner (a constant, a rule, a
default, a bug found by looking at a curve) may be chosen by looking at a task in REPORTED. Both halves hold support
vectors, linear models by gradients, networks, single trees, forests, boosting, pipelines and choices among models.
"""

from benchmarks.tuning.families import gradients, kernels, models, pipelines, trees
from benchmarks.tuning.task import Task

DEV: tuple[Task, ...] = (
    kernels.svc_digits(),
    kernels.ridge_diabetes(),
    kernels.gp_friedman(),
    trees.forest_wine(),
    trees.tree_made(),
    trees.ada_cancer(),
    trees.hist_friedman(),
    gradients.sgd_cancer(),
    gradients.mlp_digits(),
    pipelines.knn_digits(),
    pipelines.linear_diabetes(),
    models.pick_cancer(),
)

REPORTED: tuple[Task, ...] = (  # never used for choosing
    kernels.svr_diabetes(),
    kernels.nystroem_digits(),
    trees.extra_digits(),
    trees.boost_diabetes(),
    trees.hist_cancer(),
    trees.tree_friedman(),
    gradients.mlp_diabetes(),
    gradients.sgd_regression(),
    pipelines.pipeline_wine(),
    pipelines.logistic_digits(),
    models.pick_regression(),
    models.discriminant_made(),
)

TASKS: dict[str, Task] = {task.name: task for task in (*DEV, *REPORTED)}
