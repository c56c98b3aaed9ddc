"""HDR colours as SDR: a table from PQ or HLG in BT.2020 to BT.709.

Luminance follows BT.2390: values up to the knee stay as they are, and what is brighter rolls off
towards the peak of SDR along a Hermite spline, so that 1,000 cd/m2 become white. All three colours
are scaled alike, which keeps the hue. FFmpeg's `tonemap` filter needs `zscale` before it, which
PyAV's FFmpeg is built without.
"""

import math
from array import array
from functools import lru_cache
from typing import Final

from omniedit.media.facts import HLG, PQ

LEVEL: Final = 6
"""Of the Hald image: its sides are LEVEL**3, and a colour has LEVEL**2 steps."""

_STEPS: Final = LEVEL**2
_HDR_PEAK: Final = 1000.0  # cd/m2, what films are mastered for and what HLG is specified with
_SDR_PEAK: Final = 203.0  # cd/m2, reference white of HDR (BT.2408)
_GAMMA: Final = 2.4  # of an SDR display (BT.1886)
# SMPTE ST 2084.
_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128
# BT.2100, HLG.
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA: Final = 1.2
_BT2020_LUMA: Final = (0.2627, 0.6780, 0.0593)
# BT.2087.
_BT2020_TO_BT709: Final = (
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)
_WHITE: Final = 65535


@lru_cache
def hald_planes(transfer: int) -> tuple[bytes, bytes, bytes]:
    """Return the green, blue and red plane of a Hald image (16 bits, native) for a transfer."""
    levels = [index / (_STEPS - 1) for index in range(_STEPS)]
    linear = [_pq_to_light(level) if transfer == PQ else _hlg_to_scene(level) for level in levels]
    to_display = _same if transfer == PQ else _scene_to_display
    red, green, blue = array("H"), array("H"), array("H")
    for b in linear:
        for g in linear:
            for r in linear:
                color = _to_sdr(*to_display(r, g, b))
                red.append(color[0])
                green.append(color[1])
                blue.append(color[2])
    return green.tobytes(), blue.tobytes(), red.tobytes()


def is_hdr(transfer: int | None) -> bool:
    """Return whether a transfer characteristic of H.273 is one of HDR."""
    return transfer in {PQ, HLG}


def _to_sdr(red: float, green: float, blue: float) -> tuple[int, int, int]:
    """Return the 16-bit BT.709 signal for light of BT.2020, in cd/m2."""
    brightest = max(red, green, blue)
    scale = _rolled_off(brightest) / brightest if brightest > 0 else 0.0
    light = (red * scale, green * scale, blue * scale)
    signal: list[int] = []
    for row in _BT2020_TO_BT709:
        value = sum(share * each for share, each in zip(row, light, strict=True)) / _SDR_PEAK
        signal.append(round(_WHITE * min(max(value, 0.0), 1.0) ** (1 / _GAMMA)))
    return signal[0], signal[1], signal[2]


def _rolled_off(light: float) -> float:
    """Return how bright an SDR display shows light (BT.2390, 5.4.1; both in cd/m2)."""
    source = _light_to_pq(_HDR_PEAK)
    peak = _light_to_pq(_SDR_PEAK) / source
    knee = 1.5 * peak - 0.5
    level = min(_light_to_pq(light) / source, 1.0)
    if level > knee:
        t = (level - knee) / (1 - knee)
        level = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (-2 * t**3 + 3 * t**2) * peak
        )
    return _pq_to_light(level * source)


def _light_to_pq(light: float) -> float:
    power = (light / 10_000) ** _M1
    return float(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _pq_to_light(signal: float) -> float:
    power = signal ** (1 / _M2)
    return float(10_000 * (max(power - _C1, 0.0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _hlg_to_scene(signal: float) -> float:
    if signal <= 1 / 2:
        return signal**2 / 3
    return float((math.exp((signal - _C) / _A) + _B) / 12)


def _scene_to_display(red: float, green: float, blue: float) -> tuple[float, float, float]:
    r, g, b = _BT2020_LUMA
    luma = r * red + g * green + b * blue
    gain = _HDR_PEAK * luma ** (_HLG_GAMMA - 1) if luma > 0 else 0.0
    return red * gain, green * gain, blue * gain


def _same(red: float, green: float, blue: float) -> tuple[float, float, float]:
    return red, green, blue
