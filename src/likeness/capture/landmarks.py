"""The 68 iBUG points as vertices of the base mesh, and the 66 of 3DFAW among them."""

import numpy as np

# Subject's right is the picture's left in a frontal view. The jaw points lie on the jaw bone's line: they are
# anatomical, not the contour that slides over the cheek as the head turns.
LANDMARK_VERTICES = np.array(
    [
        *(5739, 868, 869, 5241, 894, 892, 743, 5292, 5296, 11898, 7463, 7594, 7596, 11850, 7574, 7573, 12336),
        *(262, 224, 222, 205, 209),
        *(6984, 6980, 6996, 6998, 7031),
        *(132, 131, 291, 297),
        *(288, 332, 343, 7094, 7057),
        *(21, 0, 54, 63, 47, 41),
        *(6847, 6838, 6784, 6805, 6825, 6831),
        *(3735, 5351, 458, 466, 7217, 11953, 10403, 11939, 7241, 492, 486, 5335),
        *(3731, 471, 474, 7227, 10399, 7264, 523, 517),
    ]
)
"""(68,) vertex ids: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67."""

KEPT_66 = np.delete(np.arange(68), [60, 64])
"""(66,) the points of 3DFAW: all but the two inner mouth corners."""

MIRROR_68 = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
        *(64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""(68,) the point that each becomes in a mirror."""
