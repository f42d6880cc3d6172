"""Prediction with a trained network:

from prediction import load_elite360m

model = load_elite360m()  # the weights of this repository; or a run folder or checkpoint file
result = model.predict("room.jpg")
result.point_cloud().save_ply("room.ply")

Of perspective images instead of panoramas: `load_achievement`.
"""

from prediction.mesh import Mesh
from prediction.model import PanoramaModel, load_elite360m
from prediction.perspective import PerspectiveModel, load_achievement
from prediction.point_cloud import PointCloud
from prediction.result import PanoramaPrediction, PerspectivePrediction, Prediction
from prediction.sphere_placement import Placement

__all__ = [
    "Mesh",
    "PanoramaModel",
    "PanoramaPrediction",
    "PerspectiveModel",
    "PerspectivePrediction",
    "Placement",
    "PointCloud",
    "Prediction",
    "load_achievement",
    "load_elite360m",
]
