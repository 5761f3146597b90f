"""Draws one street scene from two numbers."""
from functools import partial
from typing import Any, Callable, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from . import objects, surfaces
from .camera import Camera
from .canvas import Canvas
from .classes import CAR, CYCLIST, PEDESTRIAN
from .light import Light

# Smallest side of a scene in pixels; below it nothing can be told apart.
MIN_SIZE = 16

# (distance in metres, what to paint); painted from far to near.
_Item = Tuple[float, Callable[[], None]]

_CAR_COLOURS = ((40, 40, 44), (210, 210, 212), (150, 150, 154), (40, 36, 150), (130, 70, 30),
                (50, 80, 40), (40, 120, 190), (96, 92, 88), (180, 160, 120), (60, 190, 220))
_CLOTHES = ((40, 38, 40), (130, 60, 40), (50, 44, 140), (90, 90, 92), (60, 90, 60), (190, 196, 200),
            (60, 130, 190), (120, 80, 130), (150, 130, 70), (50, 60, 84))
_SKINS = ((150, 180, 225), (110, 145, 196), (70, 100, 150), (50, 66, 100))
_SIGNS = (
    dict(shape='disk', rim=(40, 36, 200), inside=(235, 235, 235), aspect=(1, 1)),
    dict(shape='disk', rim=(170, 90, 30), inside=(180, 100, 40), aspect=(1, 1)),
    dict(shape='triangle', rim=(40, 36, 200), inside=(235, 235, 235), aspect=(1, 1)),
    dict(shape='board', rim=(235, 235, 235), inside=(170, 90, 30), aspect=(1, 1)),
    dict(shape='board', rim=(235, 235, 235), inside=(80, 130, 40), aspect=(1.6, 0.8)),
    dict(shape='board', rim=(60, 60, 60), inside=(40, 190, 240), aspect=(0.8, 1)),
)


def draw_scene(seed: int, index: int,
               size: Tuple[int, int] = (256, 256)) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a street scene.

    The scene follows from `seed` and `index` alone; the global random states are neither read nor
    changed. Another size shows the same street. The arrays are equal wherever the versions of
    numpy and OpenCV are.

    Args:
        seed (int): Number of the street set, 0 ... 2**32 - 1.
        index (int): Number of the scene in its set, 0 ... 2**32 - 1.
        size (tuple[int, int]): Height H and width W in pixels. Defaults to (256, 256).

    Returns:
        tuple[np.ndarray, np.ndarray, np.ndarray]: The image (H, W, 3) uint8 BGR; the labels (H, W)
        uint8, indices into `CLASSES`, 255 where unlabelled; the instances (H, W) uint8, see
        :meth:`Canvas.maps`: the objects are cars, pedestrians and cyclists.

    Raises:
        ValueError: If a number or the size is out of range.

    Examples:
        >>> image, labels, instances = draw_scene(seed=0, index=3, size=(120, 160))
        >>> image.shape, labels.shape, instances.shape
        ((120, 160, 3), (120, 160), (120, 160))
    """
    check_number('seed', seed)
    check_number('index', index)
    check_size(size)
    # One stream plans the street and one textures it, so that a change of a texture moves nothing.
    plan, texture = (np.random.default_rng((seed, index, stream)) for stream in (0, 1))
    camera = Camera(size, horizon=plan.uniform(0.36, 0.5), vanishing=plan.uniform(0.3, 0.7),
                    focal=plan.uniform(0.65, 1.0), height=plan.uniform(1.4, 2.6))
    light = Light(plan)
    street = _plan_street(plan, light)
    canvas = Canvas(size)
    grain = surfaces.smooth_noise(texture, size, (128, 64, 200))
    patches = surfaces.smooth_noise(texture, size, (5, 11, 25))
    foliage = surfaces.smooth_noise(texture, (2 * surfaces.LEAVES,) * 2, (24, 96))

    surfaces.draw_sky(canvas, camera, light, texture)
    surfaces.draw_skyline(canvas, camera, light, plan)
    surfaces.draw_ground(canvas, camera, light, street, grain, patches)
    items = _plan_sides(plan, canvas, camera, light, street, grain, foliage)
    items += _plan_poles(plan, canvas, camera, light, street)
    items += _plan_traffic(plan, canvas, camera, light, street)
    for _, paint in sorted(items, key=lambda item: -item[0]):
        paint()

    if plan.random() < 0.3:
        canvas.ignore_outlines(CAR, max(1, round(min(size) / 256)))
    if plan.random() < 0.25:
        _draw_bonnet(plan, canvas, light)
    labels, instances = canvas.maps()
    return _expose(canvas, texture), labels, instances


def check_number(name: str, value: int) -> None:
    """Raise a ValueError unless a number is an integer of 0 ... 2**32 - 1."""
    if not isinstance(value, (int, np.integer)) or not 0 <= value < 2**32:
        raise ValueError(f'{name} must be an integer from 0 to 2**32 - 1, but {value!r} was given.')


def check_size(size: Sequence[int]) -> None:
    """Raise a ValueError unless a size is two integers (height, width) of at least `MIN_SIZE`."""
    if (not isinstance(size, (tuple, list)) or len(size) != 2
            or not all(isinstance(side, (int, np.integer)) for side in size)
            or min(size) < MIN_SIZE):
        raise ValueError(f'size must be (height, width), two integers of at least {MIN_SIZE} '
                         f'pixels, but {size!r} was given.')


def _pick(rng: np.random.Generator, options: Tuple) -> Any:
    """Choose one of the options, all alike."""
    return options[rng.integers(len(options))]


def _plan_street(rng: np.random.Generator, light: Light) -> Dict[str, Any]:
    """Choose the cross-section of the street (metres, X) and what its ground looks like."""
    lane, lanes = rng.uniform(2.8, 3.4), int(_pick(rng, (2, 2, 3, 4)))
    own = int(rng.integers(lanes))
    # The camera drives in the middle of its lane; parking strips lie outside of the lanes.
    first = -(own + 0.5) * lane + rng.uniform(-0.3, 0.3)
    parking = np.where(rng.random(2) < 0.6, 2.2, 0.4)
    road = (first - parking[0], first + lanes * lane + parking[1])
    pavement = rng.uniform(2, 6, size=2)
    lines = [(first + k * lane, rng.uniform(2, 5), rng.uniform(3, 7)) for k in range(1, lanes)]
    lines[len(lines) // 2] = (lines[len(lines) // 2][0], 1.0, float(rng.choice((0, 2))))
    lines += [(x, 1.0, 0.0) for x, p in zip((first, first + lanes * lane), parking) if p > 1]
    start = rng.uniform(9, 34)
    grey = rng.uniform(70, 128)
    return dict(
        lane=lane,
        lane_centres=[first + (k + 0.5) * lane for k in range(lanes)],
        own_lane=own,
        road=road,
        parking=parking > 1,
        walls=(road[0] - pavement[0], road[1] + pavement[1]),
        lines=lines,
        dash_phase=rng.uniform(0, 10),
        side_streets=[(s, s + rng.uniform(6, 10)) for s in rng.uniform(12, 80, size=2)
                      if rng.random() < 0.5],
        crossing=(start, start + 3.5) if rng.random() < 0.5 else None,
        wear=rng.uniform(0.5, 1.6),
        slab=rng.uniform(0.5, 1.6),
        joint=rng.uniform(0.05, 0.25),
        road_grain=rng.uniform(0.06, 0.16),
        road_colour=np.float32(grey * rng.uniform(0.93, 1.07, size=3)),
        pavement_colour=np.float32(rng.uniform(96, 178) * rng.uniform(0.88, 1.12, size=3)),
        paint=np.float32((150, 215, 230) if rng.random() < 0.15 else (225, 226, 226)),
        shadow=rng.uniform(road[0], road[1]) if light.shade < 0.82 else 1e3 * light.sun_side)


def _plan_sides(rng: np.random.Generator, canvas: Canvas, camera: Camera, light: Light,
                street: Dict[str, Any], grain: np.ndarray, foliage: np.ndarray) -> List[_Item]:
    """Line both sides of the street with buildings, gaps and trees."""
    items: List[_Item] = []
    green = rng.uniform((25, 70, 40), (60, 130, 110))
    if rng.random() < 0.15:
        green = rng.uniform((30, 80, 130), (50, 130, 190))  # autumn
    for side, wall, kerb in zip((-1, 1), street['walls'], street['road']):
        storeys = rng.uniform(6, 16)
        depth, gap, before = -2.0, 0.0, (np.inf, 0.0)
        while depth < surfaces.FAR:
            length = rng.uniform(8, 26)
            height = storeys * rng.uniform(0.55, 1.3) * (2 if rng.random() < 0.08 else 1)
            setback = rng.uniform(0, 2.5) if rng.random() < 0.4 else 0.0
            # In a closed row, only what overtops or stands before its neighbour shows its front.
            detached = gap > 0 or height > before[0] or setback < before[1]
            building = dict(
                x=wall + side * setback, start=depth, end=depth + length, height=height,
                width=rng.uniform(8, 14), detached=detached,
                style=surfaces.facade_style(rng))
            if building['end'] > surfaces.NEAR + 0.5:
                items.append((building['end'], partial(surfaces.draw_building, canvas, camera,
                                                       light, building, grain)))
            before = (height, setback)
            gap = rng.uniform(3, 14) if rng.random() < 0.3 else 0.0
            for _ in range(int(gap / 4)):  # a garden fills the gap
                tree = _plan_tree(rng, green, wall + side * rng.uniform(1, 7),
                                  depth + length + gap * rng.uniform(0.2, 0.8))
                items.append((tree['depth'], partial(surfaces.draw_tree, canvas, camera, light,
                                                     tree, foliage)))
            depth += length + gap
        # An avenue, or a tree now and then.
        spacing = rng.uniform(7, 13) if rng.random() < 0.4 else rng.uniform(20, 50)
        for place in np.arange(rng.uniform(6, 22), 90, spacing):
            tree = _plan_tree(rng, green, kerb + side * 0.7, place)
            items.append((tree['depth'], partial(surfaces.draw_tree, canvas, camera, light, tree,
                                                 foliage)))
    return items


def _plan_tree(rng: np.random.Generator, green: np.ndarray, x: float,
               depth: float) -> Dict[str, Any]:
    """Choose the size and the green of a tree."""
    radius = rng.uniform(1.1, 2.4)
    return dict(x=x, depth=max(depth, 4.0), radius=radius, height=2 * radius + rng.uniform(1.6, 3),
                trunk=rng.uniform(0.18, 0.4),
                colour=(green * rng.uniform(0.85, 1.15, size=3)).tolist(),
                cut=rng.integers(surfaces.LEAVES, size=2).tolist())


def _plan_poles(rng: np.random.Generator, canvas: Canvas, camera: Camera, light: Light,
                street: Dict[str, Any]) -> List[_Item]:
    """Set lamps, signs, traffic lights and overhead wires along the kerbs."""
    items: List[_Item] = []
    colour = _pick(rng, ((96, 98, 98), (60, 64, 60), (140, 144, 146), (70, 84, 100)))

    def pole(side: int, depth: float, height: float, width: float, **carries: Any) -> None:
        plan = dict(x=street['road'][side > 0] + side * 0.45, depth=depth, height=height,
                    width=width, colour=colour, arm=0.0, sign=None, light=None)
        plan.update(carries)
        items.append((depth, partial(objects.draw_pole, canvas, camera, light, plan)))

    for side in (-1, 1):
        height = rng.uniform(5.5, 8.5)
        places = np.arange(rng.uniform(5, 20), 100, rng.uniform(16, 30))
        if rng.random() < 0.75:
            for place in places:
                pole(side, place, height, 0.16, arm=-side * 1.4)
        if rng.random() < 0.3:
            x = street['road'][side > 0] + side * 0.45
            for start, end in zip((1.5, *places[:-1]), places):
                for drop in (0.2, 0.7):
                    wire = dict(x=x, height=height - drop, start=start, end=end, sag=0.4)
                    items.append((end, partial(objects.draw_wires, canvas, camera, light, wire)))
        for _ in range(rng.integers(0, 3)):
            sign = dict(_pick(rng, _SIGNS), size=rng.uniform(0.6, 1.0))
            pole(side, rng.uniform(6, 32), rng.uniform(2.2, 3.4), 0.09, sign=sign)
        for _ in range(rng.integers(0, 3)):  # bollards
            pole(side, rng.uniform(4.5, 20), 0.95, 0.14)
    if street['crossing'] is not None and rng.random() < 0.8:
        depth = street['crossing'][0] - 0.5
        box = _pick(rng, ((36, 36, 36), (30, 60, 40), (40, 170, 210)))
        signal = dict(box=box, phase=int(rng.integers(3)))
        for side in (-1, 1):
            pole(side, depth, rng.uniform(2.8, 3.6), 0.13, light=signal)
        if rng.random() < 0.4:
            pole(1, depth + 0.1, 5.2, 0.16, arm=-3.0, light=signal)
    return items


def _plan_traffic(rng: np.random.Generator, canvas: Canvas, camera: Camera, light: Light,
                  street: Dict[str, Any]) -> List[_Item]:
    """Let cars, pedestrians and cyclists share the street."""
    cars: List[Dict[str, Any]] = []
    for number, centre in enumerate(street['lane_centres']):
        depth = rng.uniform(9, 30) if number == street['own_lane'] else rng.uniform(4, 30)
        busy = rng.uniform(4, 30)
        while depth < 70:
            ahead = number >= street['own_lane']
            cars.append(_plan_car(rng, centre + rng.uniform(-0.3, 0.3), depth, ahead))
            depth += cars[-1]['length'] + rng.uniform(2.5, 6) + busy
    for side, kerb, parking in zip((-1, 1), street['road'], street['parking']):
        depth, free = rng.uniform(3.5, 9), rng.uniform(0.1, 0.6)
        while parking and depth < 70:
            car = _plan_car(rng, kerb - side * 1.1, depth, side > 0)
            if rng.random() > free:
                cars.append(car)
            depth += car['length'] + rng.uniform(0.6, 1.5)
    items = [_thing(canvas, camera, light, objects.draw_car, car, CAR, car['depth'] + 1.5)
             for car in cars]

    for _ in range(rng.integers(4, 17)):
        side = int(rng.integers(2))
        low, high = sorted((street['road'][side], street['walls'][side]))
        person = _plan_person(rng, rng.uniform(low + 0.2, high - 0.2), 4 + 44 * rng.random()**1.6)
        items.append(_thing(canvas, camera, light, objects.draw_person, person, PEDESTRIAN))
    if street['crossing'] is not None:
        for _ in range(rng.integers(0, 4)):
            person = _plan_person(rng, rng.uniform(*street['road']),
                                  rng.uniform(*street['crossing']))
            items.append(_thing(canvas, camera, light, objects.draw_person, person, PEDESTRIAN))
    for _ in range(rng.integers(0, 4)):
        side = int(rng.integers(2))
        reach = 2.6 if street['parking'][side] else 0.8
        cyclist = _plan_person(rng, street['road'][side] + (reach if side == 0 else -reach),
                               rng.uniform(5, 26))
        cyclist['heading'] = int(rng.integers(-1, 2))
        cyclist['frame'] = _pick(rng, _CAR_COLOURS)
        items.append(_thing(canvas, camera, light, objects.draw_cyclist, cyclist, CYCLIST))
    return items


def _plan_car(rng: np.random.Generator, x: float, depth: float, ahead: bool) -> Dict[str, Any]:
    """Choose a car; `ahead`: it shows its rear."""
    van = rng.random() < 0.15
    return dict(
        x=x, depth=depth,
        width=rng.uniform(1.65, 1.9) + 0.2 * van,
        height=rng.uniform(1.4, 1.6) + rng.uniform(0.4, 1.0) * van,
        length=rng.uniform(3.7, 4.7) + 0.8 * van,
        boxy=rng.uniform(0.7, 1) if van else rng.choice((0.0, 0.3)),
        colour=[rng.uniform(0.8, 1.15) * c for c in _pick(rng, _CAR_COLOURS)],
        lamps=(40, 36, 190) if ahead else (225, 240, 245))


def _plan_person(rng: np.random.Generator, x: float, depth: float) -> Dict[str, Any]:
    """Choose a person."""
    return dict(
        x=x, depth=depth,
        height=rng.uniform(1.1, 1.4) if rng.random() < 0.12 else rng.uniform(1.55, 1.92),
        step=rng.uniform(-1, 1),
        coat=_pick(rng, _CLOTHES), trousers=_pick(rng, _CLOTHES), skin=_pick(rng, _SKINS),
        hair=_pick(rng, ((30, 34, 40), (50, 70, 100), (110, 160, 190), (130, 130, 132))),
        bag=_pick(rng, _CLOTHES) if rng.random() < 0.35 else None)


def _thing(canvas: Canvas, camera: Camera, light: Light, draw: Callable[..., None],
           thing: Dict[str, Any], label: int, depth: float = 0.0) -> _Item:
    """Queue an object; beyond 60 m it is too small to be labelled, as in annotated photographs."""
    depth = depth or thing['depth']

    def paint() -> None:
        far = thing['depth'] > 60
        element = canvas.IGNORED_THING if far else canvas.new_object(label)
        draw(canvas, camera, light, thing, element)

    return depth, paint


def _draw_bonnet(rng: np.random.Generator, canvas: Canvas, light: Light) -> None:
    """Paint the bonnet of the camera's own car along the lower border; it is unlabelled."""
    height, width = canvas.size
    rise, bend = rng.uniform(0.03, 0.08) * height, rng.uniform(0.4, 0.7) * width
    way = np.linspace(-1, 1, 17)
    hull = np.stack((width / 2 + bend * way, height - rise * (1 - way**4)), axis=1)
    colour = light.on_colour(_pick(rng, _CAR_COLOURS), 1.0, 0.7)
    canvas.polygon(np.concatenate((hull, [(width / 2 + bend, height + 2),
                                          (width / 2 - bend, height + 2)])),
                   colour, canvas.IGNORED_STUFF)


def _expose(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Take the picture: the lens softens hard edges, the sensor adds noise."""
    image = cv2.GaussianBlur(canvas.pixels[..., :3].copy(), (3, 3), rng.uniform(0.4, 0.7))
    amplitude = rng.uniform(0.02, 0.07)
    noise = np.frombuffer(rng.bytes(image.size), dtype=np.uint8).reshape(image.shape)
    return cv2.addWeighted(image, 1.0, noise, amplitude, -127.5 * amplitude)
