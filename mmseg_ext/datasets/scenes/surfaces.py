"""What a street is built of: sky, ground and facades, each painted in one pass over its pixels.

Shapes: (H, W) the image, (h, w) the part of it that a surface can cover. `grain`, `patches` and
`foliage` are noise from `smooth_noise`; plans (dicts, lengths in metres) come from `draw_scene`.
"""
import math
from typing import Any, Dict, Tuple

import cv2
import numpy as np

from .camera import Camera
from .canvas import Canvas
from .classes import BUILDING, MARKING, PAVEMENT, ROAD, SKY, TREE
from .light import Light

# Metres; the ground and the walls end here, behind it stands the skyline.
FAR = 110.0
NEAR = 0.8
# Side of the window of the foliage noise that one tree wears.
LEAVES = 96

# Wall colours (BGR): brick, plaster, concrete, pale paint, slate, green and blue paint.
_WALLS = np.float32([(70, 84, 150), (58, 70, 120), (150, 190, 214), (186, 206, 222),
                     (150, 152, 156), (118, 124, 132), (214, 222, 226), (96, 86, 80),
                     (150, 178, 150), (196, 172, 140), (120, 150, 196), (60, 96, 110)])
_WINDOWS = np.float32([(80, 62, 50), (120, 104, 90), (190, 178, 160), (46, 40, 38)])
_LAMPLIGHT = (110.0, 190.0, 250.0)
_SHOPS = np.float32([(60, 60, 170), (50, 120, 60), (150, 80, 40), (60, 60, 60), (40, 140, 200),
                     (200, 200, 205)])


def smooth_noise(rng: np.random.Generator, size: Tuple[int, int],
                 cells: Tuple[int, ...]) -> np.ndarray:
    """Noise of several scales, (H, W) float32, mean about 0, mostly in -1 ... 1.

    A random grid of each number of `cells` per side is enlarged and added up; each weighs 0.6 of
    the one before. How many numbers are drawn does not depend on the size, so the pattern is the
    same at any.
    """
    total = np.zeros(size, dtype=np.float32)
    weight = 1.0
    for count in cells:
        grid = rng.random((count, count), dtype=np.float32)
        grid -= 0.5
        grid *= 2 * weight
        total += cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        weight *= 0.6
    return total


def _remainder(values: np.ndarray, period: float) -> np.ndarray:
    """`values` modulo `period`; several times faster than `np.mod` for float32."""
    return values - period * np.floor(values * (1 / period))


def draw_sky(canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator) -> None:
    """Paint a vertical gradient with clouds down to the horizon."""
    height = min(max(int(camera.horizon) + 1, 1), camera.size[0])
    cover, softness = rng.uniform(-0.9, 1.2), rng.uniform(0.5, 1.2)
    ramp = (camera.rows[:height] / max(camera.horizon, 1))[:, None]
    # Clouds are wider than high: the grid is enlarged to a flat band.
    clouds = smooth_noise(rng, (height, camera.size[1]), (4, 9, 20))
    clouds = np.clip((clouds + cover) * softness, 0, 0.75)
    sky = np.empty((3, *clouds.shape), dtype=np.float32)
    for plane, top, bottom, gain in zip(sky, light.sky_top, light.sky_bottom, light.gain):
        air = top + ramp * (bottom - top)
        plane[:] = air + clouds * (232 * gain - air)
    canvas.rows(0, sky, np.full(clouds.shape, SKY, dtype=np.uint8))


def draw_skyline(canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator) -> None:
    """Paint far houses and trees along the horizon."""
    blocks = 40
    tops = rng.uniform(2, 16, size=blocks) * rng.uniform(0.4, 1.6)
    colours = _WALLS[rng.integers(len(_WALLS), size=blocks)]
    wooded = rng.random(blocks) < rng.uniform(0, 0.7)
    greens = rng.uniform((20, 60, 40), (70, 110, 90), size=(blocks, 3))
    depth, width = FAR, 12.0
    scale = camera.scale(depth)
    for block in range(blocks):
        left = camera.vanishing + (block - blocks / 2) * width * scale
        if left > camera.size[1] or left + width * scale < 0:
            continue
        top = camera.horizon - tops[block] * scale
        corners = np.array([(left, top), (left + width * scale, top),
                            (left + width * scale, camera.horizon + 1), (left, camera.horizon + 1)])
        if wooded[block]:
            corners[:2, 0] += (width * scale * 0.25, -width * scale * 0.25)
        colour = light.on_colour(greens[block] if wooded[block] else colours[block], depth)
        canvas.polygon(corners, colour, TREE if wooded[block] else BUILDING)


def draw_ground(canvas: Canvas, camera: Camera, light: Light, street: Dict[str, Any],
                grain: np.ndarray, patches: np.ndarray) -> None:
    """Paint road, lane markings, crossing, side streets and pavements below the horizon.

    `grain` is fine noise and `patches` coarse noise, (H, W).
    """
    top = min(max(int(camera.horizon), 0), camera.size[0])
    rows = camera.rows[top:]
    if not rows.size:
        return
    grain, patches = grain[top:], patches[top:]
    depth = camera.focal * camera.height / np.maximum(rows - camera.horizon, 0.02)
    depth = np.minimum(depth, 4 * FAR)[:, None]
    metre = depth / camera.focal  # (h, 1) metres per pixel, across
    x = (camera.columns - camera.vanishing) * metre  # (h, w) metres
    left, right = street['road']

    road = (x > left) & (x < right)
    for start, end in street['side_streets']:
        road |= (depth > start) & (depth < end)

    # A marking that is narrower than a pixel would flicker: it keeps half a pixel to each side,
    # up to where a line is a blur anyway.
    half = np.maximum(0.07, np.minimum(0.55 * metre, 0.2))
    marking = np.zeros_like(road)
    for position, dash, gap in street['lines']:
        line = np.abs(x - position) < half
        if gap:
            line &= _remainder(depth + street['dash_phase'], dash + gap) < dash
        marking |= line
    for start, end in street['side_streets']:
        marking &= ~((depth > start - 1) & (depth < end + 1))
    if street['crossing'] is not None:
        start, end = street['crossing']
        stripes = (depth > start) & (depth < end)
        marking &= ~stripes
        marking |= stripes & (_remainder(x, 1.0) < 0.5) & (x > left + 0.3) & (x < right - 0.3)
        marking |= (depth > start - 1.6) & (depth < start - 1.2) & (x > left) & (x < right)
    # Paint is worn off in places, and then nothing is labelled there.
    marking &= road & (patches < street['wear'])

    # Slabs of the pavement: joints fade where they are finer than a pixel.
    slab = street['slab']
    joint = (_remainder(x, slab) < 0.05 + 0.5 * metre)
    joint |= _remainder(depth, slab) < 0.05 + 2 * metre
    fade = np.clip(1 - 10 * metre / slab, 0, 1) * street['joint']
    kerb = (~road) & ((np.abs(x - left) < 0.18) | (np.abs(x - right) < 0.18))

    tone = np.where(road, street['road_grain'] * grain + 0.09 * patches,
                    0.06 * grain + 0.07 * patches - fade * joint)
    tone += 1
    tone[kerb] *= 1.2
    # Wheels polish two tracks per lane; oil darkens the middle.
    tone -= np.where(road, 0.05 * np.cos(x * (4 * np.pi / street['lane'])), 0)
    # The buildings of the sunny side throw their shadow on the ground.
    edge = street['shadow'] + 0.8 * np.floor(2 * np.sin(depth * 0.15))
    tone[(x - edge) * light.sun_side > 0] *= light.shade

    elements = np.full(road.shape, PAVEMENT, dtype=np.uint8)
    elements[road] = ROAD
    elements[marking] = MARKING
    table = np.zeros((256, 3), dtype=np.uint8)
    table[[PAVEMENT, ROAD, MARKING]] = (street['pavement_colour'], street['road_colour'],
                                        street['paint'])
    colours = np.stack([cv2.LUT(elements, plane) * tone for plane in table.T.copy()])
    canvas.rows(top, light.on_array(colours, depth), elements)


def facade_style(rng: np.random.Generator) -> Dict[str, Any]:
    """Choose how a facade looks: the colours (BGR) and sizes (metres) for `draw_facade`."""
    glass = rng.random() < 0.15
    floor = rng.uniform(2.7, 3.7)
    return dict(
        wall=_WALLS[rng.integers(len(_WALLS))] * rng.uniform(0.75, 1.15, size=3),
        window=_WINDOWS[rng.integers(len(_WINDOWS))] * rng.uniform(0.8, 1.2),
        shop=_SHOPS[rng.integers(len(_SHOPS))] * rng.uniform(0.7, 1.2),
        floor=floor,
        pitch=rng.uniform(1.3, 3.4),
        window_width=0.86 if glass else rng.uniform(0.35, 0.62),
        window_height=0.84 if glass else rng.uniform(0.42, 0.62),
        panes=rng.uniform(0.75, 1.2, size=256).astype(np.float32),
        course=rng.uniform(0.12, 0.4),
        relief=rng.uniform(0.04, 0.16),
        has_shop=rng.random() < 0.45,
        parapet=rng.uniform(0.6, 1.2),
        lit=rng.uniform(0.1, 0.4))


def draw_facade(canvas: Canvas, camera: Camera, light: Light, style: Dict[str, Any],
                height: float, first: int, along: np.ndarray, depth: np.ndarray,
                brightness: float, grain: np.ndarray) -> None:
    """Paint one wall: windows, courses of bricks, a ground floor and a roof line.

    Every column of the image meets an upright wall at one depth, so two values per column, how
    far along the wall and how deep, say all about its geometry; the height above the ground of
    all pixels is one outer product.

    `along` and `depth` are metres, (w,), from column `first` on; `brightness` is the factor of the
    wall's slant to the sun; `grain` is fine noise, (H, W).
    """
    metre = depth / camera.focal
    nearest = depth.min()
    top = int(max(camera.horizon - camera.scale(nearest) * (height - camera.height), 0))
    bottom = int(min(camera.horizon + camera.scale(nearest) * camera.height + 1, camera.size[0]))
    if bottom <= top:
        return
    grain = grain[top:bottom, first:first + len(depth)]
    above = camera.height + (camera.horizon - camera.rows[top:bottom, None]) * metre  # (h, w)
    mask = (above >= 0) & (above < height)

    storey = above / style['floor']
    level = np.floor(storey)
    storey -= level
    bay = along / style['pitch']
    number = np.floor(bay)
    bay -= number
    lower = (1 - style['window_height']) * 0.6
    window = (storey > lower) & (storey < lower + style['window_height'])
    window &= np.abs(bay - 0.5) < style['window_width'] / 2
    window &= above < height - style['parapet']
    ground = above < style['floor'] * 0.9
    if style['has_shop']:
        window &= ~ground

    # Each window reflects something else. The grid blurs to its mean where a bay is under two
    # pixels wide.
    places = ((level.astype(np.int32) & 15) << 4) + (number.astype(np.int32) & 15)
    pane = style['panes'].take(places)
    crisp = np.clip(style['pitch'] / (3 * metre) - 0.6, 0.15, 1)
    share = crisp * window
    wall = 1 + (0.05 + style['relief'] * 0.5) * grain
    course = np.clip(style['course'] / (2 * metre) - 0.5, 0, 1) * style['relief']
    if course.any():
        wall -= course * (_remainder(above, style['course']) < 0.28 * style['course'])
    wall -= 0.12 * (np.abs(storey - 0.02) < 0.03) * crisp
    wall *= brightness
    if style['has_shop']:
        display = (above > 0.5) & (above < style['floor'] * 0.68) & (np.abs(bay - 0.5) < 0.42)
        wall[display] *= 0.45
    wall *= 1 - share
    lit = light.dusk and pane > 1.2 - style['lit']
    pane *= share

    colours = np.empty((3, *mask.shape), dtype=np.float32)
    for channel, plane in enumerate(colours):
        plane[:] = wall
        plane *= style['wall'][channel]
        if style['has_shop']:
            np.copyto(plane, wall * style['shop'][channel], where=ground)
        plane += style['window'][channel] * pane
        if light.dusk:
            np.copyto(plane, share * _LAMPLIGHT[channel], where=lit & window)
    canvas.patch(top, first, mask, light.on_array(colours, depth), BUILDING)


def draw_building(canvas: Canvas, camera: Camera, light: Light, building: Dict[str, Any],
                  grain: np.ndarray) -> None:
    """Paint the two walls of a building that a camera in the street can see.

    Its plan has `x` of the street wall (the sign is the side), `start` and `end` of it along the
    street, `height`, `width` away from the street, `style`, and `detached`: whether the wall that
    faces the camera can be seen.
    """
    x, side = building['x'], -1 if building['x'] < 0 else 1
    start, end = max(building['start'], NEAR), building['end']
    corner, back, far_end = (
        camera.vanishing + across * camera.scale(depth)
        for across, depth in ((x, start), (x + side * building['width'], start), (x, end)))

    first, last = _covered(camera, corner, back)
    if building['detached'] and first < last:
        offset = camera.columns[first:last] - camera.vanishing
        draw_facade(canvas, camera, light, building['style'], building['height'], first,
                    np.abs(offset) * (start / camera.focal), np.full_like(offset, start), 0.88,
                    grain)
    first, last = _covered(camera, corner, far_end)
    if first < last:
        depth = camera.focal * x / (camera.columns[first:last] - camera.vanishing)
        depth = np.minimum(np.maximum(depth, start), end)
        draw_facade(canvas, camera, light, building['style'], building['height'], first, depth,
                    depth, light.shade if side == light.sun_side else 1.05, grain)


def _covered(camera: Camera, one: float, other: float) -> Tuple[int, int]:
    """The columns whose centres lie between two edges: first, and one past the last."""
    edges = sorted((one, other))
    low, high = (min(max(math.ceil(edge - 0.5), 0), camera.size[1]) for edge in edges)
    return low, high


def draw_tree(canvas: Canvas, camera: Camera, light: Light, tree: Dict[str, Any],
              foliage: np.ndarray) -> None:
    """Paint a trunk and a ragged crown that the background shows through.

    Its plan has `x`, `depth`, `trunk`, `radius` and `height` in metres; `colour` (BGR); `cut`: row
    and column of the window of `foliage` that this tree wears.
    """
    scale = camera.scale(tree['depth'])
    column, ground = camera.project(np.array((tree['x'], 0, tree['depth'])))
    crown = ground - (tree['height'] - tree['radius']) * scale
    bark = light.on_colour((58, 70, 84), tree['depth'], 0.9)
    half = max(tree['trunk'] * scale / 2, 0.5)
    canvas.polygon(np.array([(column - half, crown), (column + half, crown),
                             (column + 1.3 * half, ground), (column - 1.3 * half, ground)]),
                   bark, TREE)
    across, up = tree['radius'] * scale, 1.1 * tree['radius'] * scale
    if column + across < 0 or column - across > camera.size[1]:
        return
    width, height = 2 * int(across) + 3, 2 * int(up) + 3
    row, left = tree['cut']
    leaves = cv2.resize(foliage[row:row + LEAVES, left:left + LEAVES], (width, height))
    y = (np.arange(height, dtype=np.float32) * (2 / (height - 1)) - 1)[:, None]
    x = np.arange(width, dtype=np.float32) * (2 / (width - 1)) - 1
    mask = x * x + y * y + 0.4 * leaves < 0.82
    tone = (0.92 - 0.22 * y) - (0.14 * light.sun_side) * x + 0.32 * leaves
    colours = np.stack([tone * np.float32(c) for c in tree['colour']])
    canvas.patch(int(crown - up), int(column - across), mask,
                 light.on_array(colours, tree['depth']), TREE)
