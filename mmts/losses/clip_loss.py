"""InfoNCE behind the call signature of open_clip's `ClipLoss`, for its training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.losses._check import Tau
from mmts.losses.info_nce import info_nce

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class ClipLoss(nn.Module):
    """Takes what `open_clip.ClipLoss` takes, and a tau for each sample (Eq. 10-12).

    Set `tau` before each call to the numbers of the batch (`mmts.schedule.per_sample_tau`), as the
    call itself has no place for them; while it is None, 1 / logit_scale is the temperature and the
    loss is CLIP's own. With several ranks every rank returns the loss of the global batch; averaged
    over ranks, as DistributedDataParallel does, the gradients are those of open_clip's
    `gather_with_grad`.
    """

    tau: Tau | None

    def __init__(
        self,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        use_horovod: bool = False,
    ) -> None:
        """
        Args:
            local_loss, gather_with_grad, cache_labels: accepted and not needed: each rank always
                computes its own rows only, with the gradient of the global loss.
            rank, world_size: of the default process group, which must exist if world_size > 1.

        Raises:
            InputError: Horovod is asked for, or the default process group is of another size.
        """
        super().__init__()
        if use_horovod:
            raise InputError("use_horovod is true; this loss needs torch.distributed instead")
        self.tau = None
        self.group: ProcessGroup | None = None
        if world_size > 1:
            if not dist.is_initialized():
                raise InputError(
                    f"world_size is {world_size} but there is no process group; call "
                    "torch.distributed.init_process_group first"
                )
            found = (dist.get_rank(), dist.get_world_size())
            if found != (rank, world_size):
                raise InputError(
                    f"rank {rank} of {world_size} was asked for, but the default process group "
                    f"says rank {found[0]} of {found[1]}"
                )
            self.group = dist.group.WORLD

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """The loss, or `{"contrastive_loss": loss}` where output_dict is true.

        Args:
            image_features, text_features: [N, D] unit rows.
            logit_scale: 1 / temperature, used while `tau` is None.
            logit_bias: not used: it shifts all logits of a softmax alike.
        """
        tau = 1 / logit_scale if self.tau is None else self.tau
        loss = info_nce(image_features, text_features, tau, group=self.group)
        return {"contrastive_loss": loss} if output_dict else loss
