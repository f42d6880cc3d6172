"""Synthetic furnished rooms, generated at random and ray-cast in closed form to ERP panoramas with exact ground truth.

* `shapes`: the solids everything is made of, `casting`: which of them each ray of an ERP image meets first;
* `scene`: what a room is, `layout`: makes one up, out of `furniture`, `fittings` and `clutter`, on a `floor_plan`;
* `surfaces`, `textures` (with `noise`) and `lighting`: what a hit looks like, `style`: the colors of a room;
* `render`: puts it all together;
* `perspective`: the same through a pinhole camera, tilted as it may be.

**World axes**: x right, y **down**, z forward as in the camera, with the floor at y = 0. Shapes and furniture use
*heights above the floor* (meters, upward), height = -y. A *yaw* is the longitude (radians, see `utils.sphere`) that
the front of an object faces: its local z axis is (sin yaw, 0, cos yaw), its local x axis (cos yaw, 0, -sin yaw).
"""
