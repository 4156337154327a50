"""The two encoders of a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmts.settings.base import Layers, Positive, Settings, Share, Text, Width

VIDEO_TOWERS = ("video_vit", "divided_vit", "clip_frames")
SHAPED = ("video_vit", "divided_vit", "vit", "clip_vision")
"""Those that random weights need a `shape` for."""
OUTSIDE = ("timm", "open_clip")
"""Models of other packages, which are extras."""
RECOMPUTING = (*VIDEO_TOWERS, "resnet", "vit", "clip_vision", *OUTSIDE)
"""Those that can keep less for the backward pass."""
TOKENS = ("clip_text", "distilbert", "open_clip")
"""Text towers with a tokenizer of their own."""
DIM = 512


def check_heads(shape: VideoShape | TextShape) -> None:
    """ValueError unless the width can be shared out among the heads."""
    if shape.width % shape.heads:
        raise ValueError(
            f"width {shape.width} is no multiple of heads {shape.heads}; change one of them"
        )


def check_model(tower: VisionTower | TextTower) -> None:
    """ValueError unless it names a model where it has to, and nowhere else."""
    if (tower.model is not None) != (tower.name in OUTSIDE):
        if tower.model is None:
            raise ValueError(f"model is missing; name a model of {tower.name}")
        raise ValueError(f"model is set; it belongs to {' and '.join(OUTSIDE)}: leave it out")


class VideoShape(Settings):
    """The size of a vision transformer that starts from random weights."""

    patch_size: Annotated[int, Field(gt=0, le=1024)] = 16
    width: Width = 768
    layers: Layers = 12
    heads: Layers = 12
    dim: Width | None = None
    """Length of the features, null for 512; vit has no projection: its features are `width`."""

    @model_validator(mode="after")
    def _heads(self) -> VideoShape:
        check_heads(self)
        return self

    @property
    def sizes(self) -> dict[str, Any]:
        """All numbers."""
        return {**self.model_dump(), "dim": self.dim or DIM}


class TextShape(Settings):
    """The size of a text transformer that starts from random weights."""

    context: Annotated[int, Field(ge=4, le=65536)] = 77
    """Most tokens of a caption, among them one or two for its start and end."""
    width: Width = 512
    layers: Layers = 12
    heads: Layers = 8
    dim: Width | None = None
    """Length of the features, null for 512; distilbert has no projection: they are `width`."""

    @model_validator(mode="after")
    def _heads(self) -> TextShape:
        check_heads(self)
        return self

    @property
    def sizes(self) -> dict[str, Any]:
        """All numbers."""
        return {**self.model_dump(), "dim": self.dim or DIM}


class VisionTower(Settings):
    """The encoder of pictures or clips in front of the projection head."""

    name: Literal[
        "efficientnet_lite0", "small_cnn", "small_vit", "resnet", "vit", "clip_vision", "timm",
        "open_clip",
        "video_vit", "divided_vit", "clip_frames",
    ]  # fmt: skip
    """resnet, vit and clip_vision are models of transformers; timm and open_clip are packages. The
    last three take clips: joint space-time attention (AVION), divided attention (TimeSformer,
    LaViLa), and CLIP on each frame."""
    weights: Text
    """`random`; for efficientnet_lite0, small_cnn and small_vit `package:<import name>` or a
    .safetensors or .pth file; for video_vit and divided_vit a folder that mmts.towers.convert
    wrote, or a hub id of one; for resnet, vit, clip_vision and clip_frames a folder or hub id of
    such a model of transformers; for timm `pretrained` or a file as above; for open_clip the tag of
    pretrained weights."""
    model: Text | None = None
    """Of timm and open_clip: the model's name there."""
    frozen: bool
    """A frozen tower is run once, in `embed`; a trainable one in every step."""
    image_size: Annotated[int, Field(ge=16, le=1024)]
    """Pixels a side of what the tower sees."""
    clip_length: Positive | None = None
    """Frames of a clip; null for a picture tower."""
    shape: VideoShape | None = None
    """With random weights of a transformer; null for that of ViT-B/16."""
    depth: Literal[18, 34, 50, 101, 152] | None = None
    """With random weights of resnet: its layers; null for 50."""
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
        new = self.weights == "random"
        if self.shape is not None and not (new and self.name in SHAPED):
            raise ValueError(
                f"shape is set; it belongs to {' and '.join(SHAPED)} with `weights: random`"
            )
        if self.shape is not None and self.shape.dim is not None and self.name == "vit":
            raise ValueError("shape.dim is set; the features of vit are shape.width: leave it out")
        if self.depth is not None and not (new and self.name == "resnet"):
            raise ValueError("depth is set; it belongs to resnet with `weights: random`")
        if self.name == "clip_frames" and self.weights == "random":
            raise ValueError("weights is random; clip_frames starts from a CLIP model")
        check_model(self)
        if self.clip_length and not self.video:
            raise ValueError(f"clip_length is set; {self.name} takes pictures: leave it out")
        if self.gradient_checkpointing and self.name not in RECOMPUTING:
            raise ValueError(f"gradient_checkpointing is set; {self.name} has none: leave it out")
        for key in ("drop_path", "patch_dropout"):
            if getattr(self, key) and not transformer:
                raise ValueError(f"{key} is set; {self.name} has none: leave it out")
        if self.patch_dropout and self.name == "divided_vit":
            raise ValueError("patch_dropout is set; divided_vit needs all patches: leave it out")
        patch = (self.shape or VideoShape()).patch_size
        if self.name in SHAPED and new and self.image_size % patch:
            raise ValueError(
                f"image_size {self.image_size} is no multiple of shape.patch_size {patch}; change "
                "one of them"
            )
        return self


class TextTower(Settings):
    """The text encoder in front of the projection head."""

    name: Literal["sentence", "small_transformer", "clip_text", "distilbert", "open_clip"]
    """`sentence`: a frozen sentence encoder; `small_transformer`: trained from scratch;
    `clip_text`: CLIP's; `distilbert`: DistilBERT's; `open_clip`: of that package."""
    weights: Text
    """`random`; for `sentence` a model as in embed.model; for `clip_text` and `distilbert` a folder
    or hub id of such a model of transformers; for `clip_text` also a folder that
    mmts.towers.convert wrote, or a hub id of one; for `open_clip` the tag of pretrained weights."""
    model: Text | None = None
    """Of open_clip: the model's name there."""
    frozen: bool
    """A frozen tower is run once, in `embed`; a trainable one in every step."""
    pooling: Literal["cls", "mean"] | None = None
    """Of distilbert: the features of its first token, [CLS], or the mean over all tokens."""
    tokenizer: Text | None = None
    """Of the last three: a folder with a tokenizer.json, or a hub id. Null: of distilbert that
    beside its weights; with random weights one learned from the training captions."""
    max_tokens: Annotated[int, Field(ge=4, le=65536)] | None = None
    """Of the last three: captions are cut to so many tokens; null for all that it can take."""
    shape: TextShape | None = None
    """With random weights of clip_text and distilbert; null for that of CLIP or DistilBERT."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""

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
        if self.name in TOKENS and self.weights != "random" and self.shape is not None:
            raise ValueError("shape is set; it belongs to `weights: random`")
        check_model(self)
        if self.tokenizer is None and (
            self.name == "open_clip" or (self.name == "clip_text" and self.weights != "random")
        ):
            raise ValueError(f"tokenizer is missing; {self.name} with weights needs its own one")
        if self.name == "open_clip" and self.shape is not None:
            raise ValueError("shape is set; that of open_clip follows from model: leave it out")
        if self.max_tokens and self.shape and self.max_tokens > self.shape.context:
            raise ValueError(
                f"max_tokens {self.max_tokens} is above shape.context {self.shape.context}; lower "
                "it"
            )
        if self.name == "distilbert":
            self._distilbert()
        elif self.pooling is not None:
            raise ValueError("pooling is set; it belongs to distilbert: leave it out")
        for key in ("tokenizer", "max_tokens", "shape", "gradient_checkpointing"):
            if getattr(self, key) and self.name not in TOKENS:
                raise ValueError(
                    f"{key} is set; it belongs to {' and '.join(TOKENS)}: leave it out"
                )
        return self

    def _distilbert(self) -> None:
        if self.pooling is None:
            raise ValueError("pooling is missing; set it to cls or mean")
        if self.shape is not None and self.shape.dim is not None:
            raise ValueError(
                "shape.dim is set; the features of distilbert are shape.width: leave it out"
            )
        if self.weights == "random" and self.tokenizer is None and self.pooling == "cls":
            raise ValueError(
                "pooling is cls but a learned tokenizer has no [CLS]; set it to mean, or name a "
                "tokenizer"
            )


class Towers(Settings):
    """The two encoders of the model."""

    vision: VisionTower
    text: TextTower
    frozen_parts: Annotated[tuple[Text, ...], Field(strict=False)] = ()
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
