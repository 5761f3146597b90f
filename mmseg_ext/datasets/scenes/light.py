"""The light of one scene: time of day, colour cast, haze and sun side."""
import math
from typing import List, Sequence, Tuple, Union

import numpy as np

# Per mood: sky at the top, sky at the horizon (BGR), brightness range, haze per metre.
_MOODS = (
    ((205, 140, 70), (232, 214, 190), (0.95, 1.15), (0.001, 0.004)),  # clear
    ((198, 190, 182), (222, 220, 216), (0.75, 1.0), (0.003, 0.009)),  # overcast
    ((190, 150, 120), (150, 195, 245), (0.8, 1.05), (0.002, 0.006)),  # low sun
    ((110, 70, 50), (120, 105, 150), (0.45, 0.65), (0.002, 0.006)),  # dusk
    ((208, 206, 202), (212, 212, 210), (0.8, 1.0), (0.010, 0.022)),  # mist
)


class Light:
    """Lights a colour by the mood of the scene and fades it into the haze by its distance.

    The mood is drawn from `rng`. Colours are BGR 0-255, distances metres.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        mood = rng.choice(len(_MOODS), p=(0.36, 0.24, 0.16, 0.12, 0.12))
        top, bottom, brightness, haze = _MOODS[mood]
        tint = rng.uniform(0.9, 1.1, size=3)
        self.sky_top = (np.array(top) * tint * rng.uniform(0.85, 1.1)).astype(np.float32)
        self.sky_bottom = (np.array(bottom) * tint).astype(np.float32)
        self.gain = (tint * rng.uniform(*brightness)).astype(np.float32)
        # Plain numbers: objects light their faces one by one.
        self._gain = self.gain.tolist()
        self._haze = self.sky_bottom.tolist()
        self.haze_density = rng.uniform(*haze)
        # Which side of the street is in the shade, and how dark the shade is.
        self.sun_side = rng.choice((-1, 1))
        self.shade = rng.uniform(0.5, 0.8) if mood in (0, 2) else rng.uniform(0.82, 1.0)
        self.dusk = mood == 3

    def on_array(self, colours: np.ndarray, depth: Union[float, np.ndarray]) -> np.ndarray:
        """Light colours (3, h, w) float32 in place; depth broadcasts to (h, w)."""
        clear = np.exp(-self.haze_density * np.asarray(depth, dtype=np.float32))
        for plane, gain, haze in zip(colours, self._gain, self._haze):
            plane *= clear * gain
            plane += (1 - clear) * haze
        return colours

    def on_colour(self, colour: Sequence[float], depth: float,
                  brightness: float = 1.0) -> Tuple[int, int, int]:
        """Light one colour; `brightness` is the factor of the surface's slant to the sun."""
        clear = math.exp(-self.haze_density * depth)
        strength, veil = brightness * clear, 1 - clear
        blue, green, red = colour
        return (min(int(blue * self._gain[0] * strength + self._haze[0] * veil), 255),
                min(int(green * self._gain[1] * strength + self._haze[1] * veil), 255),
                min(int(red * self._gain[2] * strength + self._haze[2] * veil), 255))

    def on_faces(self, colours: np.ndarray, depth: float,
                 brightness: Sequence[float]) -> List[List[int]]:
        """Light the faces of one object: colours (n, 3), brightness (n,) as in `on_colour`."""
        clear = math.exp(-self.haze_density * depth)
        lit = colours * np.array(brightness)[:, None] * (self.gain * clear)
        lit += self.sky_bottom * (1 - clear)
        return np.minimum(lit, 255).astype(np.int32).tolist()
