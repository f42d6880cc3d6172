"""Synthetic furnished rooms, generated at random and ray-cast in closed form to ERP panoramas with exact ground truth.

* `shapes`: the solids of a room, `casting`: the first of them that each ray of an ERP image hits;
* `scene`: a room, `layout`: random rooms with `furniture`, `fittings` and `clutter` on a `floor_plan`;
* `surfaces`, `textures` (with `noise`) and `lighting`: the appearance of hits, `style`: the colors of a room;
* `render`: renders a room.

**World axes**: x right, y **down**, z forward as in the camera, with the floor at y = 0. Shapes and furniture use
*heights above the floor* (meters, upward), height = -y. A *yaw* is the longitude (radians, see `utils.sphere`) that
the front of an object faces: its local z axis is (sin yaw, 0, cos yaw), its local x axis (cos yaw, 0, -sin yaw).
"""
