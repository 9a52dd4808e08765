"""Optuna's own sampler conformance tests, run against ours. None is deselected.

`SingleOnlySamplerTestCase` is for samplers that refuse several objectives; ours takes them, so it does not apply.
"""

import pytest
from optuna.testing import pytest_samplers as theirs

from visutility.interop.optuna import VisuTilitySampler

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")]


class Ours:
    @pytest.fixture(params=["auto", "bayesian", "tpe", "cmaes", "local", "random", "sobol"])
    def sampler(self, request):
        return lambda: VisuTilitySampler(request.param, seed=0)


class TestBasic(Ours, theirs.BasicSamplerTestCase):
    pass


class TestRelative(Ours, theirs.RelativeSamplerTestCase):
    pass


class TestSeveralObjectives(Ours, theirs.MultiObjectiveSamplerTestCase):
    pass
