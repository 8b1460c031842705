"""Head crops out of a 512 x 512 H.264 clip: the whole extraction against a new search for the face in every frame."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import skimage.data

from benchmarks import Row, best_time
from likeness.geometry.head_crop import crop_head
from likeness.media.video import read_frames, write_video
from likeness.perception.faces import MediaPipeFaces, find_face
from likeness.perception.head_clip import Clip, HeadSettings, extract_clip, report_path

FRAMES = 60


def main() -> list[Row]:
    """Time one process; workers run side by side without sharing anything."""
    picture = skimage.data.astronaut()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        shifts = (10 * np.sin(np.arange(FRAMES) / 8)).astype(int)
        write_video(path, (np.roll(picture, shift, axis=1) for shift in shifts), 25, synthetic=True)
        clip = Clip(str(path), "a/b/c", folder, HeadSettings())
        tracker = MediaPipeFaces()

        def extract() -> None:
            report = extract_clip(clip)
            assert report.kept == FRAMES, report
            report_path(clip).unlink()  # so that the next call does it again
            for part in ("imgs", "keypoints", "segs"):
                shutil.rmtree(Path(folder) / part)

        def search_anew() -> None:
            for frame in read_frames(path):
                crop_head(frame.image, find_face(frame.image, tracker=tracker).landmarks, 256)

        def decode() -> None:
            for _ in read_frames(path):
                pass

        seconds, anew, decoding = (best_time(f, repeats=3) / FRAMES for f in (extract, search_anew, decode))
    return [
        Row(
            "extraction of a frame, one process",
            seconds,
            "a new search in every frame, no mask, nothing written",
            anew,
            "40 frames/s on two cores",
        ),
        Row("decoding of a frame (part of the above)", decoding, "the whole extraction", seconds),
    ]


if __name__ == "__main__":
    for row in main():
        print(row.line())
