"""Prediction with a trained network:

from prediction import load_elite360m

model = load_elite360m()  # the weights of this repository; or a run folder or checkpoint file
result = model.predict("room.jpg")
result.point_cloud().save_ply("room.ply")
"""

from prediction.model import PanoramaModel, load_elite360m
from prediction.point_cloud import PointCloud
from prediction.result import Prediction

__all__ = ["PanoramaModel", "PointCloud", "Prediction", "load_elite360m"]
