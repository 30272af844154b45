"""Configuration of COURIER, and of the image encoders that it is compared with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic import model_validator

from transforms.base_config import Config

SMALL_CNN = "small_cnn"


class BackboneConfig(Config):
    """Configuration of what makes features of pixels.

    Attributes:
      name: `small_cnn`, or a class of `tf.keras.applications`, e.g. `MobileNetV2`.
      weights: Its weights: a file, or the folder of an earlier encoder of any objective, whose
        backbone this one starts from. Random ones when empty.
      frozen: Whether its weights stay as they are. Its features are then computed once an image.
      channels: Of the blocks of `small_cnn`, each of which halves height and width.
    """

    name: str = SMALL_CNN
    weights: str = ""
    frozen: bool = False
    channels: tuple[int, ...] = Field(default=(32, 64, 96, 128), min_length=1)


class CourierLossesConfig(Config):
    """Weights of COURIER's losses; a loss of weight 0 is not computed.

    Attributes:
      contrastive: A clicked image is told by its reconstruction from all that were shown.
      click_sequence: The newest click is told by its reconstruction from the others.
      click: Whether a shown image is clicked is told by its vector and its reconstruction.
    """

    contrastive: float = Field(default=1.0, ge=0.0)
    click_sequence: float = Field(default=1.0, ge=0.0)
    click: float = Field(default=0.0, ge=0.0)

    @model_validator(mode="after")
    def _uses_one(self) -> CourierLossesConfig:
        if not (self.contrastive or self.click_sequence or self.click):
            raise ValueError("All losses have weight 0: there would be nothing to learn from.")
        return self


class CourierConfig(Config):
    """An image encoder and what it learns from.

    Attributes:
      family: The kind of model (`models.families`).
      objective: `courier`; or what it is compared with: `simclr` tells two views of one image from
        other images of the catalogue and reads no clicks, `co_click` makes images alike that one
        user clicked one after the other, without attention; `none` leaves the encoder as it starts.
      backbone: What makes features of pixels.
      height: Of images, in pixels; others are resized.
      width: Likewise.
      dim: d, length of an image's vector.
      rebuild: How a shown image is rebuilt from those before it: by `attention` that knows it, or
        as their `mean`, which trains the very cosines that a model reads as similarities.
      heads: Of the attention; they divide `dim`.
      history: T, the last distinct images before a page that are read.
      window: The last events in which these are looked for.
      temperature: That cosines are divided by, in every loss.
      negatives: What a clicked image is told from: `batch` is all that was shown on the pages of a
        batch, `page` what its own page showed and nobody clicked there. The former also learns
        what makes pages differ, as their categories do.
      losses: Of `courier`.
    """

    family: Literal["courier"] = "courier"
    objective: Literal["courier", "simclr", "co_click", "none"] = "courier"
    backbone: BackboneConfig = BackboneConfig()
    height: int = Field(default=64, ge=8)
    width: int = Field(default=64, ge=8)
    dim: int = Field(default=64, ge=1)
    rebuild: Literal["attention", "mean"] = "attention"
    heads: int = Field(default=4, ge=1)
    history: int = Field(default=5, ge=1)
    window: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.05, gt=0.0)
    negatives: Literal["batch", "page"] = "batch"
    losses: CourierLossesConfig = CourierLossesConfig()

    @model_validator(mode="after")
    def _fits(self) -> CourierConfig:
        if self.dim % self.heads:
            raise ValueError(
                f"`heads` should divide `dim`, received {self.heads} heads and {self.dim} "
                "dimensions."
            )
        if self.backbone.frozen and self.objective == "simclr":
            raise ValueError(
                "`objective: simclr` makes new views of images in every step, of which a frozen "
                "backbone has no features. Set `backbone.frozen: false`."
            )
        if self.window < self.history:
            raise ValueError(
                f"`window` ({self.window}) should be at least `history` ({self.history})."
            )
        return self
