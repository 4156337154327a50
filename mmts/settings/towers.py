"""The two encoders of a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmts.settings.base import Positive, Settings, Share

VIDEO_TOWERS = ("video_vit", "divided_vit", "clip_frames")


def check_heads(shape: VideoShape | TextShape) -> None:
    """ValueError unless the width can be shared out among the heads."""
    if shape.width % shape.heads:
        raise ValueError(
            f"width {shape.width} is no multiple of heads {shape.heads}; change one of them"
        )


class VideoShape(Settings):
    """The size of a video transformer that starts from random weights."""

    patch_size: Positive = 16
    width: Positive = 768
    layers: Positive = 12
    heads: Positive = 12
    dim: Positive = 512
    """Length of the features."""

    @model_validator(mode="after")
    def _heads(self) -> VideoShape:
        check_heads(self)
        return self


class TextShape(Settings):
    """The size of a CLIP text transformer that starts from random weights."""

    context: Annotated[int, Field(ge=4)] = 77
    """Most tokens of a caption, among them one or two for its start and end."""
    width: Positive = 512
    layers: Positive = 12
    heads: Positive = 8
    dim: Positive = 512
    """Length of the features."""

    @model_validator(mode="after")
    def _heads(self) -> TextShape:
        check_heads(self)
        return self


class VisionTower(Settings):
    """The encoder of pictures or clips in front of the projection head."""

    name: Literal[
        "efficientnet_lite0", "small_cnn", "small_vit", "video_vit", "divided_vit", "clip_frames"
    ]
    """The last three take clips: joint space-time attention (AVION), divided attention
    (TimeSformer, LaViLa), and CLIP on each frame."""
    weights: str
    """`random`; for a picture tower `package:<import name>` or a .safetensors or .pth file; for
    video_vit and divided_vit a folder that mmts.towers.convert wrote, or a hub id of one; for
    clip_frames a folder or hub id of a CLIP model."""
    frozen: bool
    """A frozen tower is run once, in `embed`; a trainable one in every step."""
    image_size: Annotated[int, Field(ge=16, le=1024)]
    """Pixels a side of what the tower sees."""
    clip_length: Positive | None = None
    """Frames of a clip; null for a picture tower."""
    shape: VideoShape | None = None
    """With random weights of video_vit or divided_vit; null for that of ViT-B/16."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    drop_path: Share = 0.0
    """Stochastic depth."""
    patch_dropout: Share = 0.0
    """Share of a clip's patches that a training step leaves out."""

    @property
    def video(self) -> bool:
        """Whether it takes clips."""
        return self.name in VIDEO_TOWERS

    @model_validator(mode="after")
    def _of_its_kind(self) -> VisionTower:
        if self.video and self.clip_length is None:
            raise ValueError(f"clip_length is missing; {self.name} takes clips of so many frames")
        if self.video and self.frozen:
            raise ValueError(
                "frozen is true; features of clips are not computed ahead: set it to false, and "
                "name what stays as it is in towers.frozen_parts"
            )
        transformer = self.name in ("video_vit", "divided_vit")
        if self.shape is not None and not (transformer and self.weights == "random"):
            raise ValueError(
                "shape is set; it belongs to video_vit and divided_vit with `weights: random`"
            )
        if self.name == "clip_frames" and self.weights == "random":
            raise ValueError("weights is random; clip_frames starts from a CLIP model")
        for key in ("clip_length", "gradient_checkpointing"):
            if getattr(self, key) and not self.video:
                raise ValueError(f"{key} is set; {self.name} takes pictures: leave it out")
        for key in ("drop_path", "patch_dropout"):
            if getattr(self, key) and not transformer:
                raise ValueError(f"{key} is set; {self.name} has none: leave it out")
        if self.patch_dropout and self.name == "divided_vit":
            raise ValueError("patch_dropout is set; divided_vit needs all patches: leave it out")
        patch = (self.shape or VideoShape()).patch_size
        if transformer and self.weights == "random" and self.image_size % patch:
            raise ValueError(
                f"image_size {self.image_size} is no multiple of shape.patch_size {patch}; change "
                "one of them"
            )
        return self


class TextTower(Settings):
    """The text encoder in front of the projection head."""

    name: Literal["sentence", "small_transformer", "clip_text"]
    """`sentence`: a frozen sentence encoder; `small_transformer`: trained from scratch;
    `clip_text`: CLIP's."""
    weights: str
    """`random`; for `sentence` a model as in embed.model; for `clip_text` a folder that
    mmts.towers.convert wrote, or a hub id of one."""
    frozen: bool
    tokenizer: str | None = None
    """Of clip_text: a folder with a tokenizer.json, or a hub id; null learns one from the training
    captions, which only random weights allow."""
    shape: TextShape | None = None
    """With random weights of clip_text; null for that of CLIP."""
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _of_its_kind(self) -> TextTower:
        if self.name == "sentence" and not self.frozen:
            raise ValueError(
                "frozen is false; a sentence tower cannot be trained here: set it to true"
            )
        if self.name == "small_transformer" and (self.frozen or self.weights != "random"):
            raise ValueError(
                "a small_transformer starts from `weights: random` and `frozen: false`"
            )
        if self.name == "clip_text":
            if self.frozen:
                raise ValueError(
                    "frozen is true; clip_text is trained: set it to false, and name what stays as "
                    "it is in towers.frozen_parts"
                )
            if self.weights != "random" and self.tokenizer is None:
                raise ValueError("tokenizer is missing; clip_text with weights needs its own one")
            if self.weights != "random" and self.shape is not None:
                raise ValueError("shape is set; it belongs to `weights: random`")
        for key in ("tokenizer", "shape", "gradient_checkpointing"):
            if getattr(self, key) and self.name != "clip_text":
                raise ValueError(f"{key} is set; it belongs to clip_text: leave it out")
        return self


class Towers(Settings):
    """The two encoders of the model."""

    vision: VisionTower
    text: TextTower
    frozen_parts: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Parameters of the model that stay as they are, by glob: `text.*`, `vision.blocks.0.*`."""

    @property
    def given(self) -> bool:
        """Whether building the model can fail: weights to find, parts to name, clips to take."""
        found = (t.weights != "random" and not t.frozen for t in (self.vision, self.text))
        return self.vision.video or bool(self.frozen_parts) or any(found)

    @model_validator(mode="after")
    def _random(self) -> Towers:
        if self.vision.frozen and self.vision.weights == "random":
            raise ValueError(
                "vision.weights is random and vision.frozen is true; train it or load it"
            )
        if self.text.frozen and self.text.weights == "random":
            raise ValueError("text.weights is random and text.frozen is true; train it or load it")
        return self
