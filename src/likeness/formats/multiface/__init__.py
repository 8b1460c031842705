"""One entity of the Multiface data set on disk (Wuu et al. 2022, arXiv 2207.11243), read and written.

The tree of an entity `m--<date>--<time>--<entity>--GHS`::

    KRT  frame_list.txt  tex_mean.png  tex_var.txt  vert_mean.bin  vert_var.txt
    images/<segment>/<camera>/<frame>.png               photographs, 2048 x 1334
    unwrapped_uv_1024/<segment>/<camera>/<frame>.png    a texture for each view
    unwrapped_uv_1024/<segment>/average/<frame>.png     their mean
    tracked_mesh/<segment>/<frame>.bin | .obj | _transform.txt
    audio/<segment>.wav

Lengths are millimetres. Meshes (`.bin`) lie in the head's frame and `_transform.txt` carries head to world; the `.obj`
beside them gives the topology only. Pictures are read as they lie on disk (row 0 on top); who needs v = 0 first flips.
"""

from likeness.formats.multiface.cameras import (
    CameraRecord,
    read_camera_split,
    read_krt,
    write_camera_split,
    write_krt,
)
from likeness.formats.multiface.entity import (
    AVERAGE,
    FRAMES_PER_SECOND,
    TEXTURES,
    Entity,
    audio_time,
    open_entity,
    read_frame_list,
    read_segments,
    write_frame,
    write_frame_list,
)
from likeness.formats.multiface.meshes import (
    Topology,
    read_mesh,
    read_topology,
    read_transform,
    write_mesh,
    write_obj,
    write_transform,
)
from likeness.formats.multiface.pictures import (
    read_picture,
    write_picture,
)
from likeness.formats.multiface.statistics import (
    Statistics,
    StatisticsAccumulator,
    read_statistics,
    write_statistics,
)

__all__ = [
    "AVERAGE",
    "FRAMES_PER_SECOND",
    "TEXTURES",
    "CameraRecord",
    "Entity",
    "Statistics",
    "StatisticsAccumulator",
    "Topology",
    "audio_time",
    "open_entity",
    "read_camera_split",
    "read_frame_list",
    "read_krt",
    "read_mesh",
    "read_picture",
    "read_segments",
    "read_statistics",
    "read_topology",
    "read_transform",
    "write_camera_split",
    "write_frame",
    "write_frame_list",
    "write_krt",
    "write_mesh",
    "write_obj",
    "write_picture",
    "write_statistics",
    "write_transform",
]
