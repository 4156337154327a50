import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from mmts.errors import InputError
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.key_maps import rename
from tests.towers.test_video_vit import randomise

END = 59  # the highest id


def tower(**changes: object) -> ClipText:
    torch.manual_seed(0)
    sizes = {"context": 12, "vocabulary": 60, "width": 32, "layers": 2, "heads": 4, "dim": 10}
    made = ClipText(ClipTextConfig(**{**sizes, **changes}))  # type: ignore[arg-type]
    randomise(made)
    return made


def texts() -> torch.Tensor:
    ids = torch.randint(1, 58, (4, 12), generator=torch.Generator().manual_seed(0))
    for row, end in enumerate((3, 11, 1, 7)):
        ids[row, end] = END
        ids[row, end + 1 :] = 0
    return ids


@pytest.mark.parametrize(("quick", "act"), [(True, "quick_gelu"), (False, "gelu")])
@pytest.mark.parametrize("eos", [2, END])  # transformers pools old and new configurations apart
def test_it_is_transformers_text_model(quick: bool, act: str, eos: int) -> None:
    torch.manual_seed(1)
    config = CLIPTextConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=12,
        projection_dim=10,
        hidden_act=act,
        eos_token_id=eos,
    )
    model = CLIPTextModelWithProjection(config).eval()
    randomise(model)
    state, unknown = rename("transformers", dict(model.state_dict()))
    assert [name for name in unknown if "position_ids" not in name] == []
    made = tower(quick_gelu=quick).eval()
    made.load_state_dict({k.removeprefix("text."): v for k, v in state.items()})
    with torch.inference_mode():
        wanted = model(input_ids=texts()).text_embeds
        assert wanted.std() > 0.1
        torch.testing.assert_close(made(texts()), wanted, atol=1e-5, rtol=1e-5)


def test_what_follows_the_end_has_no_effect() -> None:
    made, ids = tower().eval(), texts()
    other = ids.clone()
    other[0, 4:] = 17
    with torch.inference_mode():
        torch.testing.assert_close(made(ids), made(other))
        torch.testing.assert_close(made(ids[2:3, :2]), made(ids)[2:3], atol=1e-5, rtol=1e-5)
        other[0, 2] = 17
        assert not torch.allclose(made(ids)[0], made(other)[0])


def test_checkpointing_and_autocast() -> None:
    found = []
    for recompute in (False, True):
        made = tower(gradient_checkpointing=recompute).train()
        made(texts()).square().mean().backward()
        found.append([p.grad for p in made.parameters()])
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        low = made(texts())
    assert torch.nn.functional.cosine_similarity(low.float(), made(texts())).min() > 0.99


def test_texts_that_are_too_long() -> None:
    with pytest.raises(InputError, match="with L from 1 to 12: truncate the texts"):
        tower()(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(InputError, match="width 32 is no multiple of heads 5"):
        tower(heads=5)
