"""The tiny problem with a recipe that says how unsure its model is of each row, for policies that need no labels."""

import numpy as np
from tiny import CLASSES, Tiny

from visutility.loop import Evaluation


class Unsure(Tiny):
    def evaluate(self, model, data):
        found = super().evaluate(model, data)
        return Evaluation(found.metrics, found.losses, found.slices, {"uncertainty": uncertainty(model, data)})


def uncertainty(model, data):
    """Return for each row, in [0, 1], how far it is from the nearest mean of a class that the model knows."""
    x = data.images().reshape(len(data), -1) ** float(model["power"])
    means = np.stack([model["x"][model["y"] == label].mean(axis=0) for label in range(CLASSES)])
    return 1.0 - np.exp(-((x[:, None, :] - means[None, :, :]) ** 2).sum(axis=2).min(axis=1))


recipe = Unsure()
