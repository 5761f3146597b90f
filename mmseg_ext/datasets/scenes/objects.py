"""What stands and moves in a street: cars, people, bicycles, poles, signs and lights.

Every function takes the object's plan as a dict: `x` and `depth` say where it stands (metres), the
rest how it looks. Plans are chosen by `draw_scene`; nothing here draws random numbers. `element` is
the number of the object on the canvas.
"""
from typing import Any, Dict, Sequence, Tuple

import numpy as np

from .camera import Camera
from .canvas import Canvas
from .classes import LIGHT, POLE, ROAD, SIGN
from .light import Light

_TYRE = (34, 32, 32)
_PANE = (72, 62, 54)
_SHADOW = (30, 29, 29)
_PLATE = (215, 220, 220)
_RIM = (150, 148, 146)
_CIRCLE = np.stack((np.cos(np.arange(10) * np.pi / 5), np.sin(np.arange(10) * np.pi / 5)), axis=1)

# The corners of a car, in units of its width (x, from the middle), its height (y) and its length
# (z, from the end that the camera sees): body, bonnet line, then windows and roof.
_CAR = np.array([
    (-.5, .18, 0), (.5, .18, 0), (.5, .56, 0), (-.5, .56, 0),  # 0-3 near end of the body
    (-.5, .18, 1), (.5, .18, 1), (.5, .60, 1), (-.5, .60, 1),  # 4-7 far end of the body
    (-.46, .58, .10), (.46, .58, .10), (.38, 1, .24), (-.38, 1, .24),  # 8-11 near window
    (-.46, .58, .80), (.46, .58, .80), (.38, 1, .62), (-.38, 1, .62),  # 12-15 far window
    (-.5, 0, 0), (.5, 0, 0), (.5, 0, 1), (-.5, 0, 1),  # 16-19 footprint
    (-.40, .60, .115), (.40, .60, .115), (.34, .95, .225), (-.34, .95, .225),  # 20-23 near pane
    (-.48, .42, 0), (-.30, .42, 0), (-.30, .53, 0), (-.48, .53, 0),  # 24-27 left lamp
    (.30, .42, 0), (.48, .42, 0), (.48, .53, 0), (.30, .53, 0),  # 28-31 right lamp
    (-.14, .30, 0), (.14, .30, 0), (.14, .38, 0), (-.14, .38, 0),  # 32-35 plate
    (-.46, 0, 0), (-.30, 0, 0), (-.30, .2, 0), (-.46, .2, 0),  # 36-39 left tyre
    (.30, 0, 0), (.46, 0, 0), (.46, .2, 0), (.30, .2, 0),  # 40-43 right tyre
    (-.45, .63, .17), (.45, .63, .17), (-.45, .63, .74), (.45, .63, .74),  # 44-51 side panes,
    (-.39, .94, .60), (.39, .94, .60), (-.39, .94, .26), (.39, .94, .26),  # left and right by turns
])  # yapf: disable


# Where the corners of the windows stand on a van: upright, at the ends of the body.
_WINDOWS = np.array((*range(8, 16), *range(20, 24), *range(44, 52)))
_UPRIGHT = np.array((.01, .01, .03, .03, .99, .99, .97, .97, .005, .005, .02, .02,
                     .05, .05, .95, .95, .95, .95, .05, .05))  # yapf: disable

# Its faces in the order of painting, for a car that shows its left (-1) or right (1) flank; the
# last three are details of the near end. `_CAR_PAINT` says which of its colours each face has:
# shadow on the road, tyre, paint, pane, plate, lamp.
_CAR_FACES = {
    side: np.array([
        (16, 17, 18, 19), (36, 37, 38, 39), (40, 41, 42, 43), flank, (3, 2, 6, 7), (11, 10, 14, 15),
        cabin, panes, (8, 9, 10, 11), (20, 21, 22, 23), (0, 1, 2, 3), (32, 33, 34, 35),
        (24, 25, 26, 27), (28, 29, 30, 31)])
    for side, flank, cabin, panes in ((-1, (0, 4, 7, 3), (8, 12, 15, 11), (44, 46, 48, 50)),
                                      (1, (1, 5, 6, 2), (9, 13, 14, 10), (45, 47, 49, 51)))
}  # yapf: disable
_CAR_PAINT = np.array((0, 1, 1, 2, 2, 2, 2, 3, 2, 3, 2, 4, 5, 5))

# The corners and joints of a person who stands upright, in units of the height (x to the right,
# y up), and how far a step moves each to the right.
_PERSON = np.array([
    (.015, .5), (0, .26), (0, .02),  # 0-2 far leg: hip, knee, foot
    (-.015, .5), (0, .27), (0, .03),  # 3-5 near leg
    (.07, .78), (.10, .62), (.09, .47),  # 6-8 far arm: shoulder, elbow, hand
    (-.10, .82), (.10, .82), (.09, .46), (-.09, .46),  # 9-12 coat
    (.05, .78), (.15, .76), (.14, .56), (.05, .56),  # 13-16 bag
    (-.08, .78), (-.11, .62), (-.10, .47),  # 17-19 near arm
    (0, .925), (.01, .955),  # 20-21 face, hair
])  # yapf: disable
_PERSON_STEP = np.array((0, .7, 1, 0, -.4, -1.2, 0, -.7, -1.4, 0, 0, 0, 0, 0, 0, 0, 0, 0, .7, 1.4,
                         0, 0)) * 0.11


def draw_car(canvas: Canvas, camera: Camera, light: Light, car: Dict[str, Any],
             element: int) -> None:
    """Paint a car that stands along the street, as a solid with three visible faces.

    Beside its place the plan has `width`, `height` and `length` in metres, `colour` and `lamps`
    (BGR), and `boxy`: 0 for a saloon, 1 for a van (windows upright, roof to both ends).
    """
    depth, side = car['depth'], 1 if car['x'] < 0 else -1
    shape = _CAR.copy()
    shape[_WINDOWS, 2] += car['boxy'] * (_UPRIGHT - shape[_WINDOWS, 2])
    size = np.array((car['width'], car['height'], car['length']))
    base = np.array((car['x'], 0, depth))
    corners = camera.project(shape * size + base)

    if corners[:, 0].max() < 0 or corners[:, 0].min() > camera.size[1]:
        return
    sunny = 1.05 if side != light.sun_side else 0.7
    colours = np.array((_SHADOW, _TYRE, car['colour'], _PANE, _PLATE, car['lamps']))
    brightness = (1, 1, 1, sunny, 1.15, 1.2, 0.9 * sunny, sunny, 0.95,
                  1.1 if light.sun_side < 0 else 0.8, 0.9, 1, 1.15, 1.15)
    # Below some six pixels of width a car is its outline.
    detailed = car['width'] * camera.scale(depth) > 6
    shown = slice(None if detailed else -3)
    faces = _CAR_FACES[side][shown]
    canvas.polygons(corners[faces],
                    light.on_faces(colours[_CAR_PAINT[shown]], depth, brightness[shown]),
                    [ROAD] + [element] * (len(faces) - 1))
    radius = 0.2 * car['height'] + 0.04
    wheel = np.empty((2, len(_CIRCLE), 3))
    wheel[..., 0] = car['x'] + side * car['width'] / 2
    wheel[..., 1] = radius * (1 + _CIRCLE[:, 1])
    wheel[..., 2] = depth + np.array([[0.18], [0.8]]) * car['length'] + radius * _CIRCLE[:, 0]
    tyres = camera.project(wheel)
    canvas.polygons(tyres, [light.on_colour(_TYRE, depth)] * 2, (element,) * 2)
    if detailed:
        hubs = tyres.mean(axis=1, keepdims=True)
        canvas.polygons(hubs + 0.55 * (tyres - hubs),
                        [light.on_colour(_RIM, depth, sunny)] * 2, (element,) * 2)


def draw_person(canvas: Canvas, camera: Camera, light: Light, person: Dict[str, Any],
                element: int, lift: float = 0.0, stride: float = 1.0) -> None:
    """Paint a person who walks across the view or along it, `lift` metres above the ground.

    The plan has the `height` in metres; `step` in -1 ... 1, how far the legs are apart, times
    `stride`; `coat`, `trousers`, `skin`, `hair` (BGR) and `bag` (BGR or None).
    """
    depth = person['depth']
    scale = camera.scale(depth)
    foot = camera.project(np.array((person['x'], lift, depth)))
    tall = person['height'] * scale
    body = _PERSON.copy()
    body[:, 0] += person['step'] * stride * _PERSON_STEP
    body = foot + body * (tall, -tall)

    def lit(part: str, brightness: float = 1.0) -> Tuple[int, int, int]:
        return light.on_colour(person[part], depth, brightness)

    canvas.polyline(body[0:3], lit('trousers', 0.85), element, 0.08 * tall)
    canvas.polyline(body[3:6], lit('trousers'), element, 0.08 * tall)
    canvas.polyline(body[6:9], lit('coat', 0.8), element, 0.055 * tall)
    canvas.polygon(body[9:13], lit('coat'), element)
    if person['bag'] is not None:
        canvas.polygon(body[13:17], lit('bag'), element)
    canvas.polyline(body[17:20], lit('coat', 1.1), element, 0.055 * tall)
    canvas.disk(body[20], 0.068 * tall, lit('skin'), element)
    canvas.disk(body[21], 0.055 * tall, lit('hair'), element)


def draw_cyclist(canvas: Canvas, camera: Camera, light: Light, cyclist: Dict[str, Any],
                 element: int) -> None:
    """Paint a person on a bicycle, from the side or from behind.

    The plan is a person's with the `frame` (BGR) and the `heading`: -1 or 1 for a ride to the left
    or to the right, 0 for one along the street.
    """
    depth, heading = cyclist['depth'], cyclist['heading']
    metre = camera.scale(depth)
    foot = camera.project(np.array((cyclist['x'], 0, depth)))
    steel = light.on_colour(cyclist['frame'], depth)
    tyre = light.on_colour(_TYRE, depth)
    if heading == 0:
        canvas.polyline(np.array([foot, foot - (0, 0.68 * metre)]), tyre, element, 0.07 * metre)
        canvas.polyline(foot + metre * np.array([(-0.26, -1.02), (0.26, -1.02)]), steel, element,
                        0.05 * metre)
        draw_person(canvas, camera, light, cyclist, element, lift=0.28, stride=0.3)
        return

    def at(*points: Sequence[float]) -> np.ndarray:
        return foot + metre * np.array([(x * heading, -y) for x, y in points])

    for x in (-0.52, 0.52):
        canvas.disk(at((x, 0.34))[0], 0.32 * metre, tyre, element, 0.05 * metre)
    canvas.polyline(at((-0.52, 0.34), (-0.2, 0.85), (0.38, 0.8), (0.0, 0.32), (-0.52, 0.34)),
                    steel, element, 0.05 * metre)
    canvas.polyline(at((0.52, 0.34), (0.38, 0.8), (0.36, 1.02), (0.5, 1.04)), steel, element,
                    0.05 * metre)
    trousers = light.on_colour(cyclist['trousers'], depth)
    coat = light.on_colour(cyclist['coat'], depth)
    canvas.polyline(at((-0.18, 0.95), (0.14, 0.72), (0.02, 0.3)), trousers, element, 0.14 * metre)
    canvas.polygon(at((-0.3, 0.92), (-0.02, 0.9), (0.28, 1.42), (0.08, 1.52)), coat, element)
    canvas.polyline(at((0.16, 1.4), (0.26, 1.1), (0.46, 1.06)), coat, element, 0.1 * metre)
    canvas.disk(at((0.28, 1.62))[0], 0.13 * metre, light.on_colour(cyclist['skin'], depth), element)
    canvas.disk(at((0.27, 1.67))[0], 0.12 * metre, light.on_colour(cyclist['hair'], depth), element)


def draw_pole(canvas: Canvas, camera: Camera, light: Light, pole: Dict[str, Any]) -> None:
    """Paint a pole with what it carries: a lamp, a sign, a traffic light, or nothing.

    The plan has `height` and `width` in metres, `colour` (BGR), `arm` (metres that it reaches over
    the road, signed), and `sign` and `light` (dict or None).
    """
    depth = pole['depth']
    metre = camera.scale(depth)
    foot = camera.project(np.array((pole['x'], 0, depth)))
    top = foot - (0, pole['height'] * metre)
    colour = light.on_colour(pole['colour'], depth)
    width = min(pole['width'] * metre, 0.02 * min(camera.size) + 1)
    canvas.polyline(np.array([foot, top]), colour, POLE, width)
    if pole['arm']:
        tip = top + (pole['arm'] * metre, -0.5 * metre)
        canvas.polyline(np.array([top, top + (0.5 * pole['arm'] * metre, -0.45 * metre), tip]),
                        colour, POLE, 0.7 * width)
        if pole['light'] is None:
            shine = (200, 240, 255) if light.dusk else (170, 176, 178)
            lamp = tip + metre * np.array([(-0.35, -0.08), (0.35, -0.08), (0.3, 0.1), (-0.3, 0.1)])
            canvas.polygon(lamp, light.on_colour(shine, depth, 1.3 if light.dusk else 1), POLE)
        top = tip
    if pole['sign'] is not None:
        _draw_sign(canvas, light, pole['sign'], top, metre, depth)
    if pole['light'] is not None:
        _draw_traffic_light(canvas, light, pole['light'], top, metre, depth)


def _draw_sign(canvas: Canvas, light: Light, sign: Dict[str, Any], top: np.ndarray, metre: float,
               depth: float) -> None:
    """Paint a plate at the top of a pole: a disk, a triangle or a board."""
    size = sign['size'] * metre / 2
    rim, inside = (light.on_colour(c, depth) for c in (sign['rim'], sign['inside']))
    if sign['shape'] == 'disk':
        canvas.disk(top, size, rim, SIGN)
        canvas.disk(top, 0.7 * size, inside, SIGN)
        return
    if sign['shape'] == 'triangle':
        plate = np.array([(0, -1.1), (1, 0.7), (-1, 0.7)])
    else:
        plate = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * sign['aspect']
    canvas.polygon(top + size * plate, rim, SIGN)
    canvas.polygon(top + 0.72 * size * plate, inside, SIGN)


def _draw_traffic_light(canvas: Canvas, light: Light, signal: Dict[str, Any], top: np.ndarray,
                        metre: float, depth: float) -> None:
    """Paint a box with three lamps, one of them lit, at the top of a pole."""
    box = metre * np.array([(-0.22, -0.55), (0.22, -0.55), (0.22, 0.55), (-0.22, 0.55)])
    canvas.polygon(top + box, light.on_colour(signal['box'], depth), LIGHT)
    lamps = ((40, 40, 230), (30, 180, 240), (90, 200, 60))
    for place, colour in enumerate(lamps):
        shine = 1.3 if place == signal['phase'] else 0.25
        canvas.disk(top + (0, (place - 1) * 0.34 * metre), 0.13 * metre,
                    light.on_colour(colour, depth, shine), LIGHT)


def draw_wires(canvas: Canvas, camera: Camera, light: Light, wire: Dict[str, Any]) -> None:
    """Paint a wire that hangs between two poles; it is one pixel wide and unlabelled.

    Its plan has `x`, `height`, `start` and `end` (Z of its ends) and `sag`, all in metres.
    """
    way = np.linspace(0, 1, 9)
    points = np.stack((np.full(9, wire['x']), wire['height'] - 4 * wire['sag'] * way * (1 - way),
                       wire['start'] + (wire['end'] - wire['start']) * way), axis=1)
    canvas.polyline(camera.project(points), light.on_colour((44, 42, 42), wire['end']),
                    canvas.IGNORED_STUFF, 1)
