"""Randomly generated furnished rooms, ray-cast in closed form to ERP panoramas with exact ground truth.

* `scene`: description of a room; `shapes`: the solids it consists of;
* `layout`: generates a single room, `buildings`: several rooms joined by openings (`outline`);
* `furnishing` places the objects of `furniture`, `household` and `clutter` in the free space of a `floor_plan`,
  `fitting_out` those of `fittings`;
* `style`, `varied_style`: materials; `surfaces`, `textures` (with `noise`), `lighting`: appearance of the hit points;
* `casting`: the first solid that each ray of an ERP image hits; `render`: RGB and ground truth;
* `perspective`: the same for a pinhole camera, which may be tilted.

**World axes**: x right, y **down**, z forward as in the camera, with the floor at y = 0. Shapes and furniture use
*heights above the floor* (meters, upward), height = -y. A *yaw* is the longitude (radians, see `utils.sphere`) that
the front of an object faces: its local z axis is (sin yaw, 0, cos yaw), its local x axis (cos yaw, 0, -sin yaw).
"""
