"""The image networks of KerasHub in small configurations, without weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Backbones made of convolutions; the others are transformers.
CONVOLUTIONAL = frozenset(
    "CSPNet DenseNet EfficientNetV1 EfficientNetV2 HGNetV2 HGNetV2Light MobileNetV3 MobileNetV5 "
    "ResNetV1 ResNetV2 ResNetVd VGG Xception CSPNetCross DeepLabV3 RetinaNet ResNetImageClassifier "
    "EfficientNetImageClassifier DeepLabV3ImageSegmenter RetinaNetObjectDetector "
    "CSPNetImageClassifier DenseNetImageClassifier HGNetV2ImageClassifier MobileNetImageClassifier "
    "MobileNetV5ImageClassifier VGGImageClassifier XceptionImageClassifier "
    "BASNetImageSegmenter".split()
)


def backbones(size: int = 64) -> dict[str, Callable[[], Any]]:
    """Functions that build the backbones, by name.

    Args:
        size: Height and width of the images.
    """
    from keras_hub import models

    shape = (size, size, 3)
    vit = {"image_shape": shape, "patch_size": 16, "num_layers": 2, "num_heads": 4}

    def resnet(kind: str, **options: Any) -> Any:
        return models.ResNetBackbone(
            **{
                "input_conv_filters": [16],
                "input_conv_kernel_sizes": [7],
                "stackwise_num_filters": [64, 32, 32],
                "stackwise_num_blocks": [2, 2, 2],
                "stackwise_num_strides": [1, 2, 2],
                "block_type": kind,
                "image_shape": shape,
                **options,
            }
        )

    def csp(kind: str, stage: str) -> Any:
        return models.CSPNetBackbone(
            stem_filters=16,
            stem_kernel_size=3,
            stem_strides=2,
            stackwise_depth=[1, 2, 2],
            stackwise_strides=[1, 2, 2],
            stackwise_num_filters=[16, 32, 64],
            block_type=kind,
            stage_type=stage,
            bottle_ratio=[0.5, 1.0],
            block_ratio=[1.0, 0.5],
            expand_ratio=[2.0, 1.0],
            image_shape=shape,
        )

    def efficientnet(kinds: str, **options: Any) -> Any:
        count = len(kinds)
        return models.EfficientNetBackbone(
            stackwise_kernel_sizes=[3, 5, 3][:count],
            stackwise_num_repeats=[1, 2, 2][:count],
            stackwise_input_filters=[16, 16, 24][:count],
            stackwise_output_filters=[16, 24, 32][:count],
            stackwise_expansion_ratios=[1, 4, 4][:count],
            stackwise_squeeze_and_excite_ratios=[0.25 if k != "f" else 0.0 for k in kinds],
            stackwise_strides=[1, 2, 2][:count],
            stackwise_block_types=[{"f": "fused", "u": "unfused", "v": "v1"}[k] for k in kinds],
            stackwise_width_coefficients=[1.0] * count,
            stackwise_depth_coefficients=[1.0] * count,
            num_features=64,
            input_shape=shape,
            **options,
        )

    def hgnet(light: bool, **options: Any) -> Any:
        return models.HGNetV2Backbone(
            **{
                "depths": [1, 2],
                "embedding_size": 16,
                "hidden_sizes": [32, 48],
                "stem_channels": [3, 16, 16],
                "hidden_act": "relu",
                "use_learnable_affine_block": light,
                "stackwise_stage_filters": [(16, 8, 32, 1, 3, 3), (32, 16, 48, 2, 3, 5)],
                "apply_downsample": [False, True],
                "use_lightweight_conv_block": [False, light],
                "image_shape": shape,
                **options,
            }
        )

    def mobilenet_v5() -> Any:
        return models.MobileNetV5Backbone(
            stackwise_block_types=[["er"], ["uir", "uir"], ["mqa", "uir"]],
            stackwise_num_blocks=[1, 2, 2],
            stackwise_num_filters=[[24], [32, 32], [48, 48]],
            stackwise_strides=[[2], [2, 1], [2, 1]],
            stackwise_act_layers=[["gelu"], ["gelu", "gelu"], ["gelu", "gelu"]],
            stackwise_exp_ratios=[[4.0], [3.0, 3.0], [1.0, 2.0]],
            stackwise_se_ratios=[[0.0], [0.0, 0.0], [0.0, 0.0]],
            stackwise_dw_kernel_sizes=[[0], [5, 0], [0, 0]],
            stackwise_dw_start_kernel_sizes=[[0], [3, 5], [0, 0]],
            stackwise_dw_end_kernel_sizes=[[0], [0, 0], [0, 0]],
            stackwise_exp_kernel_sizes=[[3], [0, 0], [0, 0]],
            stackwise_pw_kernel_sizes=[[1], [0, 0], [0, 0]],
            stackwise_num_heads=[[0], [0, 0], [4, 0]],
            stackwise_key_dims=[[0], [0, 0], [16, 0]],
            stackwise_value_dims=[[0], [0, 0], [16, 0]],
            stackwise_kv_strides=[[0], [0, 0], [1, 0]],
            stackwise_use_cpe=[[False], [False, False], [False, False]],
            num_features=64,
            msfa_output_resolution=8,
            layer_scale_init_value=1e-5,
            drop_path_rate=0.1,
            image_shape=shape,
        )

    def mobilenet() -> Any:
        return models.MobileNetBackbone(
            stackwise_expansion=[[40, 56], [64, 96]],
            stackwise_num_blocks=[2, 2],
            stackwise_num_filters=[[16, 16], [24, 24]],
            stackwise_kernel_size=[[3, 3], [5, 5]],
            stackwise_num_strides=[[2, 1], [2, 1]],
            stackwise_se_ratio=[[None, None], [0.25, 0.25]],
            stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
            stackwise_padding=[[1, 1], [2, 2]],
            output_num_filters=64,
            depthwise_filters=8,
            depthwise_stride=2,
            depthwise_residual=False,
            last_layer_filter=96,
            squeeze_and_excite=0.5,
            image_shape=shape,
        )

    def mit() -> Any:
        return models.MiTBackbone(
            layerwise_depths=[1, 1],
            num_layers=2,
            layerwise_num_heads=[2, 4],
            layerwise_sr_ratios=[4, 1],
            max_drop_path_rate=0.1,
            layerwise_patch_sizes=[7, 3],
            layerwise_strides=[4, 2],
            image_shape=shape,
            hidden_dims=[16, 32],
        )

    def dinov2(**options: Any) -> Any:
        return models.DINOV2Backbone(
            **vit,
            hidden_dim=32,
            intermediate_dim=64,
            position_embedding_shape=shape,
            **options,
        )

    def swin(window: int) -> Any:
        return models.SwinTransformerBackbone(
            image_shape=shape, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=window
        )

    def d_fine() -> Any:
        backbone = hgnet(
            True,
            depths=[1, 1, 2],
            hidden_sizes=[32, 48, 64],
            stackwise_stage_filters=[
                (16, 8, 32, 1, 3, 3),
                (32, 16, 48, 1, 3, 3),
                (48, 16, 64, 2, 3, 5),
            ],
            apply_downsample=[False, True, True],
            use_lightweight_conv_block=[False, False, True],
            out_features=["stage2", "stage3"],
        )
        return models.DFineBackbone(
            backbone=backbone,
            decoder_in_channels=[32, 32],
            encoder_hidden_dim=32,
            num_denoising=0,
            num_labels=4,
            hidden_dim=32,
            learn_initial_query=False,
            num_queries=10,
            anchor_image_size=(size, size),
            feat_strides=[8, 16],
            num_feature_levels=2,
            encoder_in_channels=[48, 64],
            encode_proj_layers=[1],
            num_attention_heads=4,
            encoder_ffn_dim=64,
            num_encoder_layers=1,
            hidden_expansion=0.5,
            depth_multiplier=0.5,
            eval_idx=-1,
            num_decoder_layers=2,
            decoder_attention_heads=4,
            decoder_ffn_dim=64,
            decoder_n_points=[3, 3],
            lqe_hidden_dim=16,
            num_lqe_layers=2,
            out_features=["stage2", "stage3"],
            image_shape=shape,
            seed=0,
        )

    def deeplab() -> Any:
        return models.DeepLabV3Backbone(
            image_encoder=resnet("bottleneck_block"),
            low_level_feature_key="P2",
            spatial_pyramid_pooling_key="P4",
            dilation_rates=[2, 4],
            upsampling_size=4,
            image_shape=shape,
        )

    def retinanet() -> Any:
        return models.RetinaNetBackbone(
            image_encoder=resnet("bottleneck_block", stackwise_num_filters=[64, 24, 32]),
            min_level=3,
            max_level=4,
            use_p5=False,
            image_shape=shape,
        )

    return {
        "CSPNet": lambda: csp("dark_block", "csp"),
        "CSPNetCross": lambda: csp("bottleneck_block", "cs3"),
        "DenseNet": lambda: models.DenseNetBackbone([2, 2], image_shape=shape, growth_rate=8),
        "EfficientNetV1": lambda: efficientnet("vvv"),
        "EfficientNetV2": lambda: efficientnet("fuu"),
        "HGNetV2": lambda: hgnet(False),
        "HGNetV2Light": lambda: hgnet(True),
        "MobileNetV3": mobilenet,
        "MobileNetV5": mobilenet_v5,
        "ResNetV1": lambda: resnet("basic_block", input_conv_filters=[64]),
        "ResNetV2": lambda: resnet("bottleneck_block", use_pre_activation=True),
        "ResNetVd": lambda: resnet(
            "bottleneck_block_vd",
            input_conv_filters=[8, 8, 16],
            input_conv_kernel_sizes=[3, 3, 3],
        ),
        "VGG": lambda: models.VGGBackbone([1, 2], [16, 32], image_shape=shape),
        "Xception": lambda: models.XceptionBackbone(
            [[16, 32], [48, 48], [48, 48]], [True, True, False], image_shape=shape
        ),
        "DeepLabV3": deeplab,
        "RetinaNet": retinanet,
        "ViT": lambda: models.ViTBackbone(**vit, hidden_dim=32, mlp_dim=64),
        "DeiT": lambda: models.DeiTBackbone(**vit, hidden_dim=32, intermediate_dim=64),
        "DINOV2": dinov2,
        "DINOV2Registers": lambda: dinov2(num_register_tokens=2, use_swiglu_ffn=True),
        "DINOV3": lambda: models.DINOV3Backbone(**vit, hidden_dim=32, intermediate_dim=64),
        "MiT": mit,
        "SegFormer": lambda: models.SegFormerBackbone(image_encoder=mit(), projection_filters=32),
        "Swin": lambda: swin(4),
        "SwinPadded": lambda: swin(7),
        "ViTDet": lambda: models.ViTDetBackbone(
            hidden_size=32,
            num_layers=2,
            intermediate_dim=64,
            num_heads=4,
            global_attention_layer_indices=[1],
            image_shape=shape,
            patch_size=8,
            num_output_channels=16,
            window_size=4,
        ),
        "DFine": d_fine,
    }
