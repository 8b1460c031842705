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
    "lr": "lr",
}
_ANIMATE = {"model_path": "run", "data_dir": "data-dir", "result_path": "out"}
_DOWNLOAD = {"dest": "dest", "download_config": "download-config"}
_MAPS: Mapping[str, Mapping[str, str]] = {
    "train": _TRAIN,
    "evaluate": _TEST,
    "animate": _ANIMATE,
    "download": _DOWNLOAD,
}
_OFF_BY_ONE = ("max-updates", "validation-batches", "fit-batches")
"""The original counts these from 0 and goes on to the end of the one with that number."""
_DROPPED = {
    "local_rank": "processes are started by torchrun or --devices",
    "mesh_inp_size": "the number of vertices is read from vert_mean.bin",
    "val_batch_size": "validation uses --batch-size",
    "lambda_verts": "the run's own weights are used",
    "lambda_tex": "the run's own weights are used",
    "lambda_screen": "the run's own weights are used",
    "lambda_kl": "the run's own weights are used",
    "save_video": "the suffix of --out decides",
    "camera_setting": "the section `full` is read",
}


def rewrite(verb: str, arguments: Sequence[str]) -> list[str]:
    """Our arguments for those of the original; words that are ours already pass through.

    An option is the original's where it is spelt with underscores or in the original's table only; what is dropped is
    printed with the reason.
    """
    table = _MAPS.get(verb, {})
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
        if name == "test_segments" or (name not in table and name not in _DROPPED) or _is_ours(verb, option):
            words += [word, *([] if equals else values)]
        elif name not in table:
            print(f"--{name} is dropped: {_DROPPED[name]}")
        else:
            words += _translated(table[name], values)
    return words


def _translated(ours: str, values: Sequence[str]) -> list[str]:
    if ours == "test-segments":
        prefixes = [prefix for value in values for prefix in (read_segments(value) if value != "None" else ())]
        return [f"--{ours}", *prefixes]
    if list(values) == ["None"]:
        return []
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
