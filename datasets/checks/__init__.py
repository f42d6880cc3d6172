"""Does a stored dataset mean what the programs take it to mean? Evidence that needs no further ground truth.

Every check measures one panorama (in a worker process, at a small size) and evaluates the measurements of all:

* `depth_values`: range of depth, valid pixels, and clipped ones;
* `camera_height`: the unit of depth, by the height of the camera over the floor; whether floors are flat;
* `normal_frames`: frame, order and signs of the axes of the normals, compared with those that depth implies;
* `label_directions`: floors below, ceilings above, walls upright;
* `alignment`: whether RGB, labels and depth show the same view, by their edges;
* `measurement`: all of these for one panorama;
* `perspective`: what of it makes sense for an image of a pinhole camera.

The bounds come from six renders of real scanned rooms, a real Matterport3D viewpoint stitched from its 18 views, and
128 synthetic rooms with 64, 128 and 256 rows ("real" and "synthetic" in comments), as they are and with known faults.
"""
