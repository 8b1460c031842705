"""Faces by MediaPipe: 478 mesh points, 68 landmarks of them, in stills and along videos."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from likeness.errors import UserError
from likeness.perception.protocols import Face, FaceTracker
from likeness.perception.runtime import QuietModel, solution, squared

SMALL_FACE = 40
"""Pixels between the outer eye corners below which landmarks are coarse: a warning."""

TINY_FACE = 20
"""Pixels below which they are useless: refused."""

MESH_TO_68 = np.array(
    [162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389]
    + [71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305]
    + [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
    + [61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87]
)
"""The mesh point that stands for each iBUG landmark."""

CONFIRMING_CROPS = (3.0, 2.0)
"""Sides of the squares around a found face, in its own size, in which the second detector must find it too."""


def find_face(
    image: np.ndarray,
    *,
    face: int | None = None,
    any_face: bool = False,
    tracker: FaceTracker | None = None,
    path: str | Path | None = None,
) -> Face:
    """The one face that is meant in a still.

    Args:
        image: (H, W, 3) uint8.
        face: which one, counted from the left from 1; default: the largest.
        any_face: do not ask the second detector (paintings far from nature, masks, animals).
        tracker: another backend than MediaPipe.
        path: the picture's file, for messages.

    Raises:
        UserError: no face, no such face, or one with less than 20 pixels between the outer eye corners.
    """
    faces = (tracker or MediaPipeFaces()).detect(image, any_face)
    if not faces:
        mend = "use a picture in which a face is seen from the front or the side"
        mend += "" if any_face else ", or pass --any-face to take whatever looks like one"
        raise UserError(f"no human face found: {mend}", path=path)
    if face is None:
        chosen = max(faces, key=_extent)
    elif 1 <= face <= len(faces):
        chosen = faces[face - 1]
    else:
        raise UserError(f"face {face} was asked for, {len(faces)} found (counted from the left, from 1)", path=path)
    size = chosen.eye_distance
    if size < TINY_FACE:
        raise UserError(
            f"the face is too small: {size:.0f} pixels between the outer eye corners, at least {TINY_FACE} are needed; "
            "use a larger picture",
            path=path,
        )
    if size < SMALL_FACE:
        where = "" if path is None else f"{path}: "
        warnings.warn(f"{where}a small face ({size:.0f} pixels between the outer eye corners): expect coarse results")
    return chosen


class MediaPipeFaces:
    """The `FaceTracker` of MediaPipe's face mesh, with its full-range detector as second opinion.

    Faces narrower than about a tenth of the picture's longer side are not seen: crop such pictures.
    """

    def __init__(self) -> None:
        mesh, detection = solution("face_mesh"), solution("face_detection")
        self._mesh = mesh.FaceMesh
        self._still = self._make_mesh(static_image_mode=True, max_num_faces=8)
        self._second = QuietModel(lambda: detection.FaceDetection(model_selection=1, min_detection_confidence=0.5))

    def detect(self, image: np.ndarray, any_face: bool = False) -> list[Face]:
        """See `FaceTracker.detect`."""
        found = _faces(self._still, image)
        faces = found if any_face else [face for face in found if self._confirmed(image, face)]
        # The mesh's own detector sees no small faces; the second one does, and its finds need no confirmation.
        for left, top, right, bottom in _boxes(self._second, image):
            centre = np.array([(left + right) / 2, (top + bottom) / 2])
            if not any(_holds(face, centre) for face in faces):
                near = _faces(self._still, *_crop(image, centre, 3 * (right - left)))
                faces += [face for face in near if _holds(face, centre)][:1]
        return sorted(faces, key=lambda face: face.box[0] + face.box[2])

    def follow(
        self, frames: Iterable[np.ndarray], face: int | None = None, any_face: bool = False
    ) -> Iterator[Face | None]:
        """See `FaceTracker.follow`; the face is chosen in the first frame that has (enough) faces."""
        last: Face | None = None
        lost = 0
        mesh = None
        try:
            for image in frames:
                if last is None:
                    faces = self.detect(image, any_face)
                    if len(faces) < (face or 1):
                        yield None
                        continue
                    last = max(faces, key=_extent) if face is None else faces[face - 1]
                    mesh = self._make_mesh(max_num_faces=len(faces))
                    _faces(mesh, image)
                    yield last
                    continue
                current = _nearest(_faces(mesh, image), last) or self._look_near(image, last)
                if current is None:
                    current = self._look_anywhere(image, last, lost, any_face)
                lost = 0 if current else lost + 1
                yield current
                last = current or last
        finally:
            if mesh is not None:
                mesh.close()

    def _make_mesh(self, **options) -> QuietModel:
        return QuietModel(
            lambda: self._mesh(refine_landmarks=True, **options), lambda result: bool(result.multi_face_landmarks)
        )

    def _look_near(self, image: np.ndarray, last: Face) -> Face | None:
        return _nearest(_faces(self._still, *_crop(image, _centre(last), 3 * _extent(last))), last)

    def _look_anywhere(self, image: np.ndarray, last: Face, lost: int, any_face: bool) -> Face | None:
        # A face far from where it was is somebody else's, unless it is the only one or has been away for a while.
        faces = self.detect(image, any_face)
        if len(faces) == 1 or lost:
            return min(faces, key=lambda face: float(np.linalg.norm(_centre(face) - _centre(last))), default=None)
        return None

    def _confirmed(self, image: np.ndarray, face: Face) -> bool:
        for factor in CONFIRMING_CROPS:
            crop, corner = _crop(image, _centre(face), factor * _extent(face))
            for left, top, right, bottom in _boxes(self._second, crop):
                if _holds(face, corner + np.array([(left + right) / 2, (top + bottom) / 2])):
                    return True
        return False


def _faces(mesh, image: np.ndarray, corner: np.ndarray | None = None) -> list[Face]:
    side = max(image.shape[:2])
    found = mesh.process(squared(image)).multi_face_landmarks or []
    faces = []
    for landmarks in found:
        points = np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32) * side
        if corner is not None:
            points[:, :2] += corner
        chosen = points[MESH_TO_68]
        faces.append(Face(chosen[:, :2].copy(), chosen[:, 2].copy(), points))
    return faces


def _boxes(detector, image: np.ndarray) -> list[tuple[float, float, float, float]]:
    side = max(image.shape[:2])
    boxes = [d.location_data.relative_bounding_box for d in detector.process(squared(image)).detections or []]
    return [(b.xmin * side, b.ymin * side, (b.xmin + b.width) * side, (b.ymin + b.height) * side) for b in boxes]


def _crop(image: np.ndarray, centre: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """The square of `side` pixels around `centre`, grey outside the picture, and its corner (x, y) in the picture."""
    side = max(16, round(side))
    left, top = (int(value) for value in np.floor(centre - side / 2))
    height, width = image.shape[:2]
    crop = np.full((side, side, 3), 128, np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x1 > x0 and y1 > y0:
        crop[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return crop, np.array([left, top], np.float32)


def _centre(face: Face) -> np.ndarray:
    left, top, right, bottom = face.box
    return np.array([(left + right) / 2, (top + bottom) / 2], np.float32)


def _extent(face: Face) -> float:
    left, top, right, bottom = face.box
    return max(right - left, bottom - top)


def _holds(face: Face, point: np.ndarray) -> bool:
    return bool(np.linalg.norm(_centre(face) - point) < 0.75 * _extent(face))


def _nearest(faces: list[Face], last: Face) -> Face | None:
    near = [face for face in faces if np.linalg.norm(_centre(face) - _centre(last)) < _extent(last)]
    return min(near, key=lambda face: float(np.linalg.norm(_centre(face) - _centre(last))), default=None)
