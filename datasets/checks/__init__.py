"""Checks of the conventions of a stored dataset, by comparing its maps with each other.

Each check measures single panoramas (in worker processes, at a small size) and then evaluates all measurements:

* `depth_values`: range of depth, valid and clipped pixels;
* `camera_height`: the unit of depth, from the height of the camera above the floor; whether floors are flat;
* `normal_frames`: frame, order and signs of the axes of the normals, by comparing them with normals from depth;
* `label_directions`: whether floors are below, ceilings above and walls vertical;
* `alignment`: whether RGB, normals, labels and depth show the same view, by their edges;
* `heading`: whether RGB and depth have the same heading, to a fraction of a degree;
* `measurement`: all of these for panoramas;
* `perspective`: those that apply to images of a pinhole camera;
* `objects`: checks of images with boxes.

The bounds were determined with six renders of real scanned rooms, a real Matterport3D viewpoint stitched from its 18
views, and 128 synthetic rooms with 64, 128 and 256 rows ("real" and "synthetic" in comments), with and without faults.
"""
