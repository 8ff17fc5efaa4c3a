"""The method as it is written, with nothing saved: what deepct's networks are held against, in results and in cost.

Only the weights are deepct's: every function here takes a network and reads its parameters, so that gradients land in
the same ``.grad``. Histograms are counted mask by mask for all 150 labels and all are encoded, codes are tiled to
planes and convolved with the features, and the soft histogram is a (bins * bins) x H x W tensor for each image.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from deepct.losses import LossWeights
from deepct.networks import ColorTransferNetwork
from deepct.networks.backbones import UNetEncoder
from deepct.output import TransferOutput

LABELS = 150

Weights = Mapping[str, Tensor]


def literal_transfer(
    network: ColorTransferNetwork,
    source: Tensor,
    reference: Tensor,
    source_labels: Tensor | None = None,
    reference_labels: Tensor | None = None,
    scales: bool = True,
) -> TransferOutput:
    """What ``network(source, reference, source_labels, reference_labels)`` gives, for a network of stride 1.

    Args:
        network: whose weights are used.
        source: (B, 3, H, W) normalised Lab.
        reference: (B, 3, H', W') normalised Lab.
        source_labels: (B, H, W) uint8, 0 to 149, or 255 for none. Both maps or none.
        reference_labels: (B, H', W') uint8.
        scales: draw the decoder's pictures too.

    Raises:
        ValueError: the network has a stride, of which the paper knows nothing.
    """
    if network.config.stride != 1:
        raise ValueError("only networks of stride 1 have a literal form")
    weights = dict(network.named_parameters())
    height, width = source.shape[-2:]
    e_s, e_t = (_encode(weights, _whole_histograms(network, photo)) for photo in (source, reference))
    e_s, e_t = (code[:, :, None, None].expand(-1, -1, height, width) for code in (e_s, e_t))
    if source_labels is not None and reference_labels is not None:
        histograms = _masked_histograms(network, reference, reference_labels)
        by_label = _encode(weights, histograms.flatten(0, 1)).unflatten(0, (len(source), LABELS))
        e_t = _place(by_label, e_t, source_labels, reference_labels)
    return literal_ctn(network, source, torch.cat((e_s, e_t), dim=1), scales)


def _histogram(network: ColorTransferNetwork, pixels: Tensor) -> Tensor:
    """(3, N) pixels to their (1 + l_bins, ab_bins, ab_bins) histogram; zeros where there are none."""
    ab_bins, l_bins = network.sight
    unit = (pixels.detach().float() + 1) / 2
    a, b = ((plane * ab_bins).floor().long().clamp(0, ab_bins - 1) for plane in unit[1:])
    lightness = (unit[0] * l_bins).floor().long().clamp(0, l_bins - 1)
    ab = torch.bincount(a * ab_bins + b, minlength=ab_bins**2).view(1, ab_bins, ab_bins)
    planes = torch.bincount(lightness, minlength=l_bins).view(-1, 1, 1).expand(-1, ab_bins, ab_bins)
    return (torch.cat((ab, planes)).float() / max(1, pixels.shape[1])).to(pixels.dtype)


def _whole_histograms(network: ColorTransferNetwork, photos: Tensor) -> Tensor:
    """(B, 1 + l_bins, ab_bins, ab_bins)."""
    return torch.stack([_histogram(network, photo.flatten(1)) for photo in photos])


def _masked_histograms(network: ColorTransferNetwork, photos: Tensor, labels: Tensor) -> Tensor:
    """(B, 150, 1 + l_bins, ab_bins, ab_bins): a histogram for every label there could be."""
    return torch.stack(
        [
            torch.stack([_histogram(network, photo[:, classes == label]) for label in range(LABELS)])
            for photo, classes in zip(photos, labels, strict=True)
        ]
    )


def _place(by_label: Tensor, e_t: Tensor, source_labels: Tensor, reference_labels: Tensor) -> Tensor:
    """R_t, (B, C, H, W): (B, 150, C) codes on the pixels of their labels, elsewhere the (B, C, H, W) planes e_t."""
    names = torch.arange(LABELS, device=e_t.device).view(1, LABELS, 1, 1)
    in_reference = (reference_labels.unsqueeze(1) == names).any(3).any(2).view(-1, LABELS, 1, 1)
    masks = (source_labels.unsqueeze(1) == names) & in_reference
    placed = by_label[..., None, None] * masks.unsqueeze(2)
    return placed.sum(1) + e_t * ~masks.any(1, keepdim=True)


def literal_ctn(network: ColorTransferNetwork, source: Tensor, codes: Tensor, scales: bool = True) -> TransferOutput:
    """CTN alone: (B, 3, H, W) source and (B, 2 code_size, H, W) code planes to the picture and the decoder's."""
    weights = dict(network.named_parameters())
    height, width = source.shape[-2:]
    padding = network.config.padding
    padded, codes = _pad(source, padding), _pad(codes, padding)
    encoder = network.ctn.encoder
    *skips, x = _unet_encoder(weights, padded) if isinstance(encoder, UNetEncoder) else encoder(padded)
    pictures = []
    for layer, skip in enumerate(reversed(skips)):
        x = _decoder_layer(weights, f"ctn.layers.{layer}", x, skip, codes)
        if not scales:
            continue
        stride = 16 >> layer
        top, rows, columns = padding // stride, -(-height // stride), -(-width // stride)
        picture = _head(weights, f"ctn.heads.{layer}", x)
        pictures.append(picture[..., top : top + rows, top : top + columns])
    image = _refine(weights, x, codes)[..., padding : padding + height, padding : padding + width]
    if network.config.residual:
        image = image + source
        pictures = [picture + F.adaptive_avg_pool2d(source, picture.shape[-2:]) for picture in pictures]
    return TransferOutput(image, tuple(pictures))


def _pad(planes: Tensor, padding: int) -> Tensor:
    """Repeat the border: ``padding`` on each side, then right and below to a multiple of 32, 64 at least."""
    height, width = (max(64, -(-(side + 2 * padding) // 32) * 32) for side in planes.shape[-2:])
    right, below = width - planes.shape[-1] - padding, height - planes.shape[-2] - padding
    return F.pad(planes, (padding, right, padding, below), mode="replicate")


def _convolve(weights: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding)


def _convolve_with_codes(weights: Weights, name: str, x: Tensor, codes: Tensor) -> Tensor:
    """Tile the codes beside the features, in the features' size, and convolve them all."""
    codes = F.interpolate(codes, size=x.shape[-2:], mode="nearest-exact")
    return _convolve(weights, f"{name}.conv", torch.cat((x, codes), dim=1))


def _encode(weights: Weights, histograms: Tensor) -> Tensor:
    """HEN: (N, 1 + l_bins, 64, 64) to (N, C)."""
    x = histograms
    for i, stride in enumerate((2, 2, 2, 2, 1, 1, 1, 1)):
        x = F.leaky_relu(_convolve(weights, f"hen.convolutions.{2 * i}", x, stride, padding=1 if i < 7 else 0), 0.1)
    return F.linear(x.flatten(1), weights["hen.linear.weight"], weights["hen.linear.bias"])


def _unet_encoder(weights: Weights, x: Tensor) -> list[Tensor]:
    maps = []
    for i in range(5):
        for step in (0, 3):
            x = _convolve(weights, f"ctn.encoder.blocks.{i}.{step}", x)
            x = F.leaky_relu(F.instance_norm(x), 0.2)
        maps.append(x)
        x = F.instance_norm(_convolve(weights, f"ctn.encoder.strided.{i}.0", x, stride=2))
    return [*maps, x]


def _decoder_layer(weights: Weights, name: str, previous: Tensor, skip: Tensor, codes: Tensor) -> Tensor:
    up = F.interpolate(previous, size=skip.shape[-2:], mode="nearest")
    x = torch.cat((up, skip), dim=1)
    for step in (0, 3):
        x = F.relu(F.instance_norm(_convolve(weights, f"{name}.fuse.{step}", x)))
    return F.relu(_convolve_with_codes(weights, f"{name}.steer", x, codes))


def _head(weights: Weights, name: str, x: Tensor) -> Tensor:
    return _convolve(weights, f"{name}.2", F.relu(_convolve(weights, f"{name}.0", x)))


def _refine(weights: Weights, x: Tensor, codes: Tensor) -> Tensor:
    name = "ctn.refinement"
    if f"{name}.enter.weight" in weights:
        x = _convolve(weights, f"{name}.enter", x, padding=0)
    for block in range(3):
        shortcut = x
        for step in range(4):
            x = _convolve_with_codes(weights, f"{name}.blocks.{block}.steps.{step}", x, codes)
            x = F.leaky_relu(x, 0.2) if step < 3 else shortcut + x
    x = _convolve_with_codes(weights, f"{name}.steer", x, codes)
    for step in range(3):
        x = _convolve(weights, f"{name}.leave.{step}", F.leaky_relu(x, 0.2))
    return x


def literal_soft_histogram(images: Tensor, bins: int = 32) -> Tensor:
    """(B, 3, H, W) to (B, bins, bins): a (bins * bins) x H x W tensor of weights for each image, averaged."""
    centres = (torch.arange(bins, dtype=images.dtype, device=images.device) + 0.5) / bins
    rows, columns = (grid.reshape(-1, 1, 1) for grid in torch.meshgrid(centres, centres, indexing="ij"))
    histograms = []
    for a, b in (images[:, 1:] + 1).div(2).unbind(0):
        weights = torch.relu(1 - (a - rows).abs() * bins) * torch.relu(1 - (b - columns).abs() * bins)
        histograms.append(weights.mean((1, 2)).view(bins, bins))
    return torch.stack(histograms)


def literal_color_transfer_loss(
    output: TransferOutput, target: TransferOutput, weights: LossWeights, identical: Tensor
) -> Tensor:
    """(B,) L_image + lambda_1 L_hist + lambda_2 L_multi; each of the target's pictures is resized to its layer."""
    share = torch.where(identical, weights.identical, 1.0)
    image = share * (output.image - target.image).square().mean((1, 2, 3))
    difference = literal_soft_histogram(output.image) - literal_soft_histogram(target.image)
    multiscale = torch.zeros_like(image)
    for mine, theirs in zip(output.scales, target.scales, strict=True):
        resized = F.adaptive_avg_pool2d(theirs, mine.shape[-2:])
        multiscale = multiscale + (mine - resized).square().mean((1, 2, 3)) / len(output.scales)
    return image + weights.histogram * difference.square().mean((1, 2)) + weights.multiscale * multiscale


def literal_distillation_step(
    student: ColorTransferNetwork,
    teacher: ColorTransferNetwork,
    source: Tensor,
    reference: Tensor,
    target: Tensor,
    identical: Tensor,
    source_labels: Tensor | None = None,
    reference_labels: Tensor | None = None,
    weights: LossWeights = LossWeights(),  # noqa: B008 - it cannot be changed
    alpha: float = 0.5,
) -> Tensor:
    """A student's step up to the optimizer: the mean of alpha L_soft + (1 - alpha) L_hard; gradients are added up."""
    with torch.no_grad():
        taught = literal_transfer(teacher, source, reference, source_labels, reference_labels)
    output = literal_transfer(student, source, reference, source_labels, reference_labels)
    truth = TransferOutput(target, (target,) * len(output.scales))
    soft = literal_color_transfer_loss(output, taught, weights, identical)
    hard = literal_color_transfer_loss(output, truth, weights, identical)
    loss = (alpha * soft + (1 - alpha) * hard).mean()
    loss.backward()
    return loss.detach()
