"""Tokenizers of text towers: learned from the training captions, or those of published models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor

from mmts.errors import InputError, first_line
from mmts.files import artifact
from mmts.towers.token_rows import Tokens
from mmts.weights import model_files

if TYPE_CHECKING:
    from mmts.kinds.text._parts import Published

MAX_TOKENS, PAD = 48, 0
"""Of `encode`, where a tokenizer has none of its own."""
VOCABULARY = 8192
SPECIAL = ["[PAD]", "[UNK]"]  # [PAD] is id 0
END, CLS, SEP = "[END]", "[CLS]", "[SEP]"
FILE = "tokenizer.json"
PROBES = ("", "a", "a red ball")
TEXTS_AT_ONCE = 10_000
MOST_IDS = 2_000_000  # twice what the largest known have


def train_tokenizer(
    texts: Iterable[str], end_of_text: bool = False, framed: bool = False
) -> Tokenizer:
    """Byte-level BPE of at most 8,192 pieces; the same texts give the same pieces.

    With `end_of_text` each text ends with one more token, the highest id, as `ClipText` wants it;
    `framed`, it stands between [CLS] and [SEP], as BERT wants it.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[1]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if end_of_text:
        tokenizer.add_special_tokens([END])
        end = (END, tokenizer.token_to_id(END))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {END}", special_tokens=[end]
        )
    if framed:
        tokenizer.add_special_tokens([CLS, SEP])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}",
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in (CLS, SEP)],
        )
    return tokenizer


def given_tokenizer(spec: str) -> Tokenizer:
    """The tokenizer of a CLIP model, in a folder or of a hub id.

    Raises:
        InputError: there is none, the hub cannot be reached, or texts do not end with its highest
            id, which is where `ClipText` reads its features.
    """
    tokenizer = _read(spec)
    highest = vocabulary_size(tokenizer) - 1
    ids = [encoded.ids for encoded in _probes(tokenizer)]
    if any(row[-1:] != [highest] for row in ids):
        found = ", ".join(sorted({str(row[-1]) if row else "nothing" for row in ids}))
        raise InputError(
            f"towers.text.tokenizer {spec} ends texts with {found}, not with its highest id "
            f"{highest} ({tokenizer.id_to_token(highest)}); clip_text needs a CLIP tokenizer, "
            "whose end of text is that"
        )
    return tokenizer


def _read(spec: str) -> Tokenizer:
    """The tokenizer in a folder or of a hub id; it neither cuts nor pads."""
    folder = model_files(
        spec, (FILE,), f"give a folder with the {FILE} that the text tower was trained with"
    )
    tokenizer = _loaded(folder / FILE, "get it again")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def bert_tokenizer(spec: str, pad: int, cls: bool) -> Tokenizer:
    """The tokenizer of a BERT or DistilBERT model, in a folder or of a hub id.

    Args:
        spec: the folder or hub id.
        pad: the id that the model takes for padding.
        cls: whether the model's features are those of the first token.

    Raises:
        InputError: there is none, the hub cannot be reached, `pad` is a piece of text to it, or
            texts do not begin with one special token where they have to.
    """
    tokenizer = _read(spec)
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    unknown = getattr(tokenizer.model, "unk_token", None)
    if pad not in special or tokenizer.id_to_token(pad) == unknown:
        raise InputError(
            f"towers.text.tokenizer {spec} has {tokenizer.id_to_token(pad)!r} at id {pad}, which "
            "the text tower takes for padding; name the one that it was trained with"
        )
    first = {encoded.ids[0] if encoded.ids else None for encoded in _probes(tokenizer)}
    if cls and (len(first) > 1 or not first <= special):
        raise InputError(
            f"towers.text.tokenizer {spec} does not begin texts with [CLS], whose features the "
            "text tower gives; name the one that it was trained with"
        )
    return tokenizer


def _probes(tokenizer: Tokenizer) -> list[Any]:
    with telling():
        found: list[Any] = tokenizer.encode_batch(list(PROBES))
    return found


@contextmanager
def telling() -> Iterator[None]:
    """InputError where a tokenizer fails in the block: it lacks the piece for what is unknown."""
    try:
        yield
    except Exception as error:  # the library raises no narrower one
        raise InputError(
            f"the text tower's tokenizer cannot take every text ({first_line(error)}); get it "
            "again, or name another one"
        ) from None


def pad_with(tokenizer: Tokenizer, pad: int) -> None:
    """Let `encode` pad with another id than 0. `tokenizer.json` keeps it."""
    tokenizer.enable_padding(pad_id=pad, pad_token=tokenizer.id_to_token(pad))


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """The highest id and one; 0 for no pieces."""
    return 1 + max(tokenizer.get_vocab().values(), default=-1)


def cut_to(tokenizer: Tokenizer, tokens: int) -> None:
    """Let texts have that many tokens at most; the end of text stays. `tokenizer.json` keeps it."""
    tokenizer.enable_truncation(tokens)


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that was saved beside a model."""
    artifact(path, "run `dvc repro`")
    return _loaded(path, "run `dvc repro`")


def _loaded(path: Path, remedy: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise InputError(f"{path} is damaged ({error}); {remedy}") from None
    size = vocabulary_size(tokenizer)
    if size == 0:
        raise InputError(f"{path} has no pieces; {remedy}")
    if size > MOST_IDS:
        raise InputError(
            f"{path} has a piece with the id {size - 1:,}, {MOST_IDS:,} ids at most; {remedy}"
        )
    return tokenizer


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Tokenise texts, part by part; rows have at most what `cut_to` has set, else 48."""
    limit = MAX_TOKENS if tokenizer.truncation is None else tokenizer.truncation["max_length"]
    pad = PAD if tokenizer.padding is None else tokenizer.padding["pad_id"]
    if tokenizer.padding is not None:
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        tokenizer.no_padding()
    size = vocabulary_size(tokenizer)
    kind = np.uint16 if size <= 1 << 16 else np.int32
    ids, lengths = [np.empty(0, kind)], [np.empty(0, np.int64)]
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = list(texts[start : start + TEXTS_AT_ONCE])
        with telling():
            rows = [encoded.ids[:limit] for encoded in tokenizer.encode_batch_fast(part)]
        found = np.fromiter(chain.from_iterable(rows), np.int64)
        if found.max(initial=-1) >= size:  # a post-processor may add what it pleases
            raise InputError(
                f"the text tower's tokenizer has no id above {size - 1:,} and gives texts "
                f"{found.max():,}; get it again, or name another one"
            )
        ids.append(found.astype(kind))
        lengths.append(np.fromiter(map(len, rows), np.int64))
    return Tokens(np.concatenate(ids), np.concatenate(lengths), pad)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids [N, L], padded with 0 or what `pad_with` has set.

    L is at most what `cut_to` has set, else 48.
    """
    return tokens_of(tokenizer, texts)[:]


def check_vocabulary(settings: Published, given: int, own: int) -> None:
    """InputError where a tokenizer has more ids than a text tower."""
    if given > own:
        raise InputError(
            f"towers.text.tokenizer {settings.tokenizer or settings.weights} has {given} ids but "
            f"the text tower of {settings.weights} has {own}; name the one that it was trained with"
        )
