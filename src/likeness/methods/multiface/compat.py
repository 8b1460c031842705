"""The original's own command lines (train.py, test.py, visualize.py, download_dataset.py) rewritten to ours."""

from collections.abc import Mapping, Sequence

from likeness.errors import UserError
from likeness.formats.multiface import read_segments

_TRAIN = {
    "train_batch_size": "batch-size",
    "arch": "architecture",
    "nlatent": "latent",
    "lr": "lr",
    "resolution": "resolution",
    "tex_size": "tex-size",
    "epochs": "epochs",
    "data_dir": "data-dir",
    "krt_dir": "krt",
    "framelist_train": "frame-list-train",
    "framelist_test": "frame-list-test",
    "framelist": "frame-list-test",
    "loss_weight_mask": "loss-weight-mask",
    "test_segment_config": "test-segments",
    "test_segment": "test-segments",
    "camera_config": "camera-split",
    "lambda_verts": "lambda-verts",
    "lambda_screen": "lambda-screen",
    "lambda_tex": "lambda-tex",
    "lambda_kl": "lambda-kl",
    "max_iter": "max-updates",
    "log_every": "visuals-every",
    "val_every": "validate-every",
    "val_num": "validation-batches",
    "n_worker": "workers",
    "pass_thres": "pass-threshold",
    "result_path": "experiment-dir",
    "model_ckpt": "start-from",
    "model_path": "start-from",
}
_TEST = {
    "model_path": "run",
    "model_ckpt": "run",
    "data_dir": "data-dir",
    "framelist_test": "frame-list",
    "framelist": "frame-list",
    "test_segment_config": "test-segments",
    "test_segment": "test-segments",
    "camera_config": "camera-split",
    "val_batch_size": "batch-size",
    "val_num": "fit-batches",
    "krt_dir": "krt",
    "lr": "lr",
}
_ANIMATE = {"model_path": "run", "model_ckpt": "run", "data_dir": "source", "result_path": "out"}
_DOWNLOAD = {"dest": "dest", "download_config": "download-config"}
_MAPS: Mapping[str, Mapping[str, str]] = {
    "train": _TRAIN,
    "evaluate": _TEST,
    "animate": _ANIMATE,
    "download": _DOWNLOAD,
}
_OFF_BY_ONE = ("max-updates", "validation-batches", "fit-batches")
"""The original counts these from 0 and goes on to the end of the one with that number."""
_PROCESSES = {"local_rank": "processes are started by torchrun or --devices"}
_OF_THE_RUN = {
    name: "the run knows it"
    for name in ("arch", "nlatent", "tex_size", "mesh_inp_size", "resolution", "loss_weight_mask")
} | {f"lambda_{term}": "the run's own weights are used" for term in ("verts", "tex", "screen", "kl")}
_OF_TRAINING = {
    name: "it belongs to training, the original ignores it here, too"
    for name in ("max_iter", "log_every", "val_every", "pass_thres", "epochs", "train_batch_size", "framelist_train")
}
_DROPPED: Mapping[str, Mapping[str, str]] = {
    "train": _PROCESSES
    | {
        "mesh_inp_size": "the number of vertices is read from vert_mean.bin",
        "val_batch_size": "validation uses --batch-size",
    },
    "evaluate": _PROCESSES
    | _OF_THE_RUN
    | _OF_TRAINING
    | {
        "n_worker": "batches are read one after the other",
        "result_path": "result.txt is written into the run's folder",
        "save_video": "likeness animate writes videos",
        "camera_setting": "the section `full` is read",
    },
    "animate": _PROCESSES
    | _OF_THE_RUN
    | _OF_TRAINING
    | {
        "val_batch_size": "pictures are drawn one after the other",
        "val_num": "--max-frames stops early",
        "n_worker": "pictures are drawn one after the other",
        "lr": "nothing is fitted",
        "krt_dir": "the run knows its cameras; --camera-path takes others",
        "framelist_test": "--segment chooses",
        "framelist": "--segment chooses",
        "test_segment_config": "--segment names one",
        "test_segment": "--segment names one",
        "camera_config": "--camera names one",
        "camera_setting": "--camera names one",
        "save_video": "a video is always written",
    },
}
"""By verb, what has no place here, and why."""


def rewrite(verb: str, arguments: Sequence[str]) -> list[str]:
    """Our arguments for those of the original; words that are ours already pass through.

    An option is the original's where it is spelt with underscores or in the original's table only; what is dropped is
    printed with the reason.
    """
    table, dropped = _MAPS.get(verb, {}), _DROPPED.get(verb, {})
    words: list[str] = []
    index = 0
    while index < len(arguments):
        word = arguments[index]
        index += 1
        if not word.startswith("--"):
            words.append(word)
            continue
        option, equals, inline = word.partition("=")
        name = option[2:].replace("-", "_")
        values = [inline] if equals else []
        while not equals and index < len(arguments) and not arguments[index].startswith("--"):
            values.append(arguments[index])
            index += 1
        if name == "test_segments" or (name not in table and name not in dropped) or _is_ours(verb, option):
            words += [word, *([] if equals else values)]
        elif name not in table:
            print(f"--{name} is dropped: {dropped[name]}")
        else:
            words += _translated(table[name], values)
    return words


def _translated(ours: str, values: Sequence[str]) -> list[str]:
    if ours == "test-segments":
        prefixes = [prefix for value in values for prefix in (read_segments(value) if value != "None" else ())]
        return [f"--{ours}", *prefixes]
    if list(values) == ["None"]:
        return []
    if ours == "out" and not values[0].endswith(".mp4"):
        return ["--out", f"{values[0].rstrip('/')}/video.mp4"]
    if ours in _OFF_BY_ONE:
        try:
            return [f"--{ours}", str(int(values[0]) + 1)]
        except (ValueError, IndexError):
            raise UserError(f"--{ours} needs a whole number, found {' '.join(values) or 'nothing'}") from None
    return [f"--{ours}", *values]


def _is_ours(verb: str, option: str) -> bool:
    """Whether a spelling that both sides know means ours: hyphens, and a name of our own."""
    own = {"train": _TRAIN, "evaluate": _TEST}.get(verb, {})
    return "-" in option[2:] and "_" not in option and option[2:] in own.values()
