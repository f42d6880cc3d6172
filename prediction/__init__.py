"""Prediction with a trained network:

from prediction import load_elite360m

model = load_elite360m()  # the weights of this repository; or a run folder or checkpoint file
result = model.predict("room.jpg")
result.point_cloud().save_ply("room.ply")

For perspective images there is `load_achievement`.

Modules:

- networks: predictor, trained_model, model (panoramas), perspective, tta, guided_size, cost, candidate; foreign (other
  programs' maps)
- images: inputs (paths), naming, image_formats, input_image, cameras, video
- panoramas of any kind: gpano, sphere_flags, sphere_placement, panorama_input, cubemap, masks, fisheye
- results: result, point_cloud, mesh; result_files and description on disk
- programs: command, batch, file_predictor, panorama_files, perspective_files
- export: export_graph, export_formats
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
