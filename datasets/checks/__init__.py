"""Checks that a stored dataset has the expected conventions, without further ground truth.

Each check measures single panoramas (in worker processes, at a small size) and evaluates all measurements:

* `depth_values`: range of depth, valid pixels, and clipped ones;
* `camera_height`: the unit of depth, by the height of the camera over the floor; whether floors are flat;
* `normal_frames`: frame, order and signs of the axes of the normals, by comparing them with normals from depth;
* `label_directions`: floors below, ceilings above, walls upright;
* `alignment`: whether RGB, labels and depth show the same view, by their edges;
* `heading`: whether RGB and depth have the same heading, to a fraction of a degree;
* `measurement`: all of these for one panorama;
* `perspective`: what of it makes sense for an image of a pinhole camera.

The bounds were determined with six renders of real scanned rooms, a real Matterport3D viewpoint stitched from its 18
views, and 128 synthetic rooms with 64, 128 and 256 rows ("real" and "synthetic" in comments), without and with faults.
"""
