"""One entity as a configuration names it: frames, cameras, statistics."""

from collections.abc import Sequence
from pathlib import Path

from likeness.errors import UserError
from likeness.formats.multiface import (
    open_entity,
    read_camera_split,
    read_frame_list,
    read_krt,
    read_statistics,
    read_transform,
)
from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.data import Sample, ViewSet, entity_topology, left_out, select_samples, strangers
from likeness.methods.multiface.model import Template


class Capture:
    """One entity as a configuration names it: frames, cameras, statistics."""

    def __init__(self, config: MultifaceConfig):
        self.config = config
        self.entity = open_entity(config.data_dir)
        self.krt_path = config.krt or self.entity.krt
        self.records = read_krt(self.krt_path)
        self.statistics = read_statistics(self.entity)
        if config.camera_split is None:
            self.cameras = {"train": tuple(self.records), "test": tuple(self.records)}
        else:
            split = read_camera_split(config.camera_split)
            # Colour rows follow the KRT file, as everything else that is counted by camera.
            self.cameras = {key: self._in_order(split[key]) for key in ("train", "test")}
        self.rows = {name: row for row, name in enumerate(self.cameras["train"])}

    def listed(self, split: str) -> Path:
        """The frame list of `train` or `valid`."""
        own = self.config.frame_list_train if split == "train" else self.config.frame_list_test
        return own or self.entity.frame_list

    def left_out(self) -> list[str]:
        """What the frame lists name and training cannot use, in words."""
        paths = dict.fromkeys(self.listed(split) for split in ("train", "valid"))
        cameras = [name for name in self.records if name in {*self.cameras["train"], *self.cameras["test"]}]
        lines = [line for path in paths for line in left_out(self.entity, read_frame_list(path), cameras)]
        return [*lines, *strangers(self.entity, list(self.records))]

    def samples(self, split: str) -> list[Sample]:
        """Samples of `train` or `valid`.

        Raises:
            UserError: there are none.
        """
        train = split == "train"
        path = self.listed(split)
        chosen = select_samples(
            self.entity,
            read_frame_list(path),
            self.cameras["train" if train else "test"],
            only=() if train else self.config.test_segments,
            exclude=self.config.test_segments if train else (),
        )
        if not chosen:
            raise UserError(
                f"no {split} sample: no listed frame {'outside' if train else 'inside'} the held-out segments "
                f"{', '.join(self.config.test_segments) or '(none)'} has textures of its views and their mean "
                f"(unwrapped_uv_1024/<segment>/average) under {self.entity.root}; set --test-segments",
                path=path,
            )
        return chosen

    def views(self, samples: Sequence[Sample], photos: bool) -> ViewSet:
        """The samples, fetched at the configured sizes."""
        return ViewSet(
            self.entity,
            samples,
            self.records,
            self.rows,
            self.statistics,
            self.config.tex_size,
            photo_size=self.config.resolution if photos else None,
            screen_scale=self.config.screen_scale,
        )

    def template(self, samples: Sequence[Sample]) -> Template:
        """What a run keeps of the entity."""
        first = samples[0]
        return Template(
            topology=entity_topology(self.entity, samples, len(self.statistics.vert_mean)),
            statistics=self.statistics,
            records=self.records,
            trained=self.cameras["train"],
            transform=read_transform(self.entity.transform(first.segment, first.frame)),
        )

    def _in_order(self, names: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in self.records]
        if unknown:
            raise UserError(
                f"has no record of the cameras {', '.join(unknown)} that {self.config.camera_split} names: take them "
                "off the split, or fetch metadata again",
                path=self.krt_path,
            )
        return tuple(name for name in self.records if name in names)
