"""The section `data.augment`: what is changed about training samples each time they are read."""

from typing import Annotated

from pydantic import Field, model_validator

from difflogic_tonic.config.sections import Section

Share = Annotated[float, Field(ge=0, le=1)]


class Augment(Section):
    """Everything is off by default. Validation and test samples are never changed."""

    flip: bool = False
    """Mirror half of the training samples, left to right."""

    shift: Annotated[int, Field(ge=0, le=1024)] = 0
    """Move each training sample by up to so many pixels in both directions; what moves in is empty."""

    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Turn each training sample by up to so many degrees either way, to the nearest pixel."""

    drop: Share = 0.0
    """Share of the pixels that are emptied in each training frame."""

    noise: Share = 0.0
    """Share of the pixels that become 0 or the highest value (images 255, events 1) with equal chance."""

    time_jitter: Annotated[int, Field(ge=0, le=1024)] = 0
    """Leave out up to so many frames at one end of each training recording; one frame always stays."""

    mixup: Share = 0.0
    """Share of the training samples that are blended with another one, which has at most half the weight."""

    cutmix: Share = 0.0
    """Share of the training samples that get a rectangle, at most half of the area, from another one."""

    on_device: bool = False
    """Do it on `train.device`, not in the reader threads: for large frames on a GPU. The samples are the same."""

    @property
    def mixes(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    @property
    def changes_anything(self) -> bool:
        return self.model_copy(update={"on_device": False}) != Augment()

    @model_validator(mode="after")
    def _one_mix_a_sample(self) -> "Augment":
        if self.mixup + self.cutmix > 1:
            raise ValueError(
                f"data.augment.mixup {self.mixup:g} and data.augment.cutmix {self.cutmix:g} are shares of the same "
                "samples, of which each is mixed once; expected a sum of at most 1"
            )
        return self
