"""Places the furniture of a room: against walls, around tables, and small objects in free space."""

from dataclasses import dataclass

import numpy as np

from datasets.rooms import clutter, furniture, household
from datasets.rooms.floor_plan import FloorPlan, Footprint, Place
from datasets.rooms.scene import Light, Part
from datasets.rooms.style import Style

_TRIES = 20
_GAP = 0.02  # meters between a wall and furniture


@dataclass
class Furnisher:
    """Puts furniture into a room while there is space."""

    plan: FloorPlan
    style: Style
    rng: np.random.Generator
    office_chairs: bool

    def bookcases(self, count: int) -> list[Part]:
        """Up to `count` groups of one to three equal bookcases side by side."""
        parts: list[Part] = []
        for _ in range(count):
            width, number = self.rng.uniform(0.7, 1.1), int(self.rng.integers(1, 4))
            height = self.rng.uniform(1.1, 2.15)
            place = self._against_wall(width * number, furniture.BOOKCASE_DEPTH, height)
            if place:
                offsets = (np.arange(number) - (number - 1) / 2) * width
                for x in offsets:
                    parts += furniture.bookcase(place.at(float(x), 0), width, height, self.style, self.rng)
        return parts

    def sofas(self, count: int) -> list[Part]:
        """Up to `count` sofas or armchairs, mostly against walls, some with a low table in front of them."""
        parts: list[Part] = []
        for _ in range(count):
            width = self.rng.uniform(0.9, 1.05) if self.rng.random() < 0.3 else self.rng.uniform(1.5, 2.3)
            place = None
            if self.rng.random() < 0.75:
                place = self._against_wall(width, furniture.SOFA_DEPTH, 0.9)
            place = place or self._anywhere(width, furniture.SOFA_DEPTH)
            if place is None:
                continue
            parts += furniture.sofa(place, width, self.style, self.rng)
            size_x, size_z = self.rng.uniform(0.7, 1.2), self.rng.uniform(0.45, 0.65)
            front = place.at(0, furniture.SOFA_DEPTH / 2 + 0.35 + size_z / 2)
            if self.rng.random() < 0.75 and self.plan.claim(Footprint.around(front, size_x, size_z)):
                parts += furniture.table(front, size_x, size_z, 0.42, self.style)
                parts += self._tabletop_objects(front.at(0, 0, up=0.42), size_x, 0.4)
        return parts

    def tables(self, count: int) -> list[Part]:
        """Up to `count` tables with chairs around them, smaller ones where a long one does not fit."""
        parts: list[Part] = []
        for _ in range(count):
            if self.rng.random() < 0.3:
                parts += self._round_table()
                continue
            for size_x in (self.rng.uniform(1.5, 2.6), 1.2, 0.8):
                size_z = self.rng.uniform(0.75, 1.0)
                place = self._anywhere(size_x + 0.2, size_z + 1.3)
                if place:
                    parts += self._laid_table(place, size_x, size_z)
                    break
        return parts

    def desks(self, count: int) -> list[Part]:
        """Up to `count` desks, against walls or freestanding, each with a chair, and a computer or other objects."""
        parts: list[Part] = []
        for _ in range(count):
            size_x, size_z = self.rng.uniform(1.2, 1.7), self.rng.uniform(0.65, 0.8)
            depth = size_z + 0.75  # with the chair
            at_wall = self.rng.random() < 0.75
            area = self._against_wall(size_x, depth, 0.74) if at_wall else self._anywhere(size_x, depth)
            if area is None:
                continue
            place = area.at(0, -0.375)
            parts += furniture.desk(place, size_x, size_z, self.style)
            chair = place.at(self.rng.uniform(0, 0.2), size_z / 2 + 0.3, np.pi + self.rng.uniform(-0.6, 0.6))
            parts += furniture.chair(chair, self.office_chairs, self.style)
            if self.rng.random() < 0.7:
                turn = self.rng.uniform(-0.2, 0.2)
                parts += clutter.monitor(place.at(0.1, -0.08, turn, up=0.74), self.style)
                parts += self._tabletop_objects(place.at(-size_x / 2 + 0.22, 0, up=0.74), 0.4, 0.6)
            else:
                parts += self._tabletop_objects(place.at(0, 0, up=0.74), size_x, 0.6)
        return parts

    def chairs(self, count: int) -> list[Part]:
        """Up to `count` single chairs, against walls or anywhere."""
        parts: list[Part] = []
        for _ in range(count):
            size = furniture.CHAIR_SIZE + 0.1
            place = (
                self._against_wall(size, size, 0.95) if self.rng.random() < 0.5 else self._anywhere(size, size, True)
            )
            if place:
                parts += furniture.chair(place, self.office_chairs, self.style)
        return parts

    def floor_clutter(self, count: int) -> list[Part]:
        """Up to `count` small objects on the floor."""
        parts: list[Part] = []
        for _ in range(count):
            place = self._anywhere(clutter.FLOOR_CLUTTER_SIZE, clutter.FLOOR_CLUTTER_SIZE, any_angle=True)
            if place:
                parts += clutter.on_floor(place, self.style, self.rng)
        return parts

    def floor_lamps(self, count: int) -> tuple[list[Part], list[Light]]:
        """Up to `count` floor lamps near walls, and their lights."""
        parts: list[Part] = []
        lights: list[Light] = []
        for _ in range(count):
            place = self._against_wall(0.44, 0.44, 1.6)
            if place:
                parts += clutter.floor_lamp(place, self.style)
                lights.append(Light(place.x, place.z, 1.42, (0.5, 0.4, 0.27), shadows=False))
        return parts, lights

    def beds(self, count: int) -> list[Part]:
        """Up to `count` beds with their heads against walls."""
        parts: list[Part] = []
        for _ in range(count):
            width = self.rng.uniform(0.9, 1.9)
            place = self._against_wall(width + 0.1, 2.15, 1.3)
            if place:
                parts += household.bed(place, width, self.style, self.rng)
        return parts

    def cabinets(self, count: int) -> list[Part]:
        """Up to `count` chests of drawers or wardrobes against walls."""
        parts: list[Part] = []
        for _ in range(count):
            width, height = self.rng.uniform(0.5, 2.4), self.rng.uniform(0.6, 2.2)
            place = self._against_wall(width, household.CABINET_DEPTH, height)
            if place:
                parts += household.cabinet(place, width, height, self.style, self.rng)
        return parts

    def kitchens(self, count: int) -> list[Part]:
        """Up to `count` counters with cupboards along walls."""
        parts: list[Part] = []
        for _ in range(count):
            width = self.rng.uniform(1.4, 4.0)
            place = self._against_wall(width, household.COUNTER_DEPTH + 0.03, 2.25)
            if place:
                parts += household.kitchen(place, width, self.style, self.rng)
        return parts

    def piles(self, count: int) -> list[Part]:
        """Up to `count` piles of random objects, low or as high as a person."""
        parts: list[Part] = []
        for _ in range(count):
            size, height = self.rng.uniform(0.4, 1.3), self.rng.uniform(0.3, 1.9)
            at_wall = self.rng.random() < 0.6
            place = self._against_wall(size, size, height) if at_wall else self._anywhere(size, size, any_angle=True)
            if place:
                parts += household.pile(place, size, height, self.style, self.rng)
        return parts

    def rugs(self, count: int) -> list[Part]:
        """`count` rugs, which may lie under furniture."""
        parts: list[Part] = []
        for _ in range(count):
            x, z = self.rng.uniform(-0.7, 0.7, 2) * (self.plan.half_x, self.plan.half_z)
            place = Place(x, z, self.rng.uniform(-np.pi, np.pi) if self.rng.random() < 0.2 else 0.0)
            parts += household.rug(place, *self.rng.uniform(0.8, 3.5, 2), self.style, self.rng)
        return parts

    def _laid_table(self, place: Place, size_x: float, size_z: float) -> list[Part]:
        parts = furniture.table(place, size_x, size_z, 0.74, self.style)
        seats = max(1, int((size_x - 0.1) / 0.62))
        for side in (1, -1):
            for i in range(seats):
                if self.rng.random() < 0.85:
                    x = ((i + 0.5) / seats - 0.5) * (size_x - 0.2)
                    z = side * (size_z / 2 + self.rng.uniform(0.05, 0.3))
                    turn = (np.pi if side > 0 else 0.0) + self.rng.uniform(-0.15, 0.15)
                    parts += furniture.chair(place.at(x, z, turn), self.office_chairs, self.style)
        return parts + self._tabletop_objects(place.at(0, 0, up=0.74), size_x, 0.7)

    def _round_table(self) -> list[Part]:
        radius = self.rng.uniform(0.4, 0.62)
        place = self._anywhere(2 * radius + 1.2, 2 * radius + 1.2)
        if place is None:
            return []
        parts = furniture.round_table(place, radius, 0.73, self.style)
        seats, first = int(self.rng.integers(2, 5)), self.rng.uniform(0, 2 * np.pi)
        for i in range(seats):
            outwards = place.at(0, 0, first + 2 * np.pi * i / seats).at(0, radius + 0.22)
            turned = outwards.at(0, 0, np.pi + self.rng.uniform(-0.2, 0.2))
            parts += furniture.chair(turned, self.office_chairs, self.style)
        return parts + self._tabletop_objects(place.at(0, 0, up=0.73), radius, 0.6)

    def _tabletop_objects(self, top: Place, size_x: float, probability: float) -> list[Part]:
        """Objects side by side along a tabletop, one at each spot with this probability."""
        spots = max(1, int(size_x / 0.42))
        parts: list[Part] = []
        for i in range(spots):
            if self.rng.random() < probability:
                x = ((i + 0.5) / spots - 0.5) * size_x
                place = top.at(x, self.rng.uniform(-0.06, 0.06), self.rng.uniform(-0.5, 0.5))
                parts += clutter.on_table(place, self.style, self.rng)
        return parts

    def _against_wall(self, size_x: float, size_z: float, height: float) -> Place | None:
        """Claim a place with its back to a free part of a wall, facing the room."""
        for _ in range(_TRIES):
            wall = int(self.rng.integers(len(self.plan.walls)))
            span = self.plan.walls[wall].half_x - size_x / 2 - _GAP
            if span < 0:
                continue
            along = self.rng.uniform(-span, span)
            place = self.plan.at_wall(wall, along, size_z / 2 + _GAP)
            if self.plan.is_wall_free(wall, along, size_x, 0.0, height) and self.plan.claim(
                Footprint.around(place, size_x, size_z)
            ):
                self.plan.claim_wall(wall, along, size_x, 0.0, height)
                return place
        return None

    def _anywhere(self, size_x: float, size_z: float, any_angle: bool = False) -> Place | None:
        """Claim a place anywhere on the floor, mostly parallel to the walls unless `any_angle`."""
        for _ in range(_TRIES):
            x, z = self.rng.uniform(-1, 1, 2) * (self.plan.half_x, self.plan.half_z)
            yaw = self.rng.integers(4) * np.pi / 2
            if any_angle or self.rng.random() < 0.15:
                yaw = self.rng.uniform(-np.pi, np.pi)
            place = Place(x, z, yaw)
            if self.plan.claim(Footprint.around(place, size_x, size_z)):
                return place
        return None
