"""The hydra configs of the tiny checkpoints: Meta's own, with small numbers."""

from __future__ import annotations

from typing import Any

SAMPLE_RATE_HZ = 32_000
CODEBOOKS = 4
CODEBOOK_SIZE = 64
WINDOW_S = 30
TEXT_ENCODER_WIDTH = 32
TEXT_ENCODER = "tiny-t5"

# 640 samples per frame: 50 frames per second, as in facebook/encodec_32khz.
_RATIOS = (10, 8, 8)


def codec_config() -> dict[str, Any]:
    """An EnCodec of the 32 kHz shape: non-causal, weight-normed, 2 LSTM layers, 4 codebooks at 50 Hz."""
    return {
        "device": "cpu",
        "sample_rate": SAMPLE_RATE_HZ,
        "channels": 1,
        "compression_model": "encodec",
        "encodec": {
            "autoencoder": "seanet",
            "quantizer": "rvq",
            "sample_rate": "${sample_rate}",
            "channels": "${channels}",
            "causal": False,
            "renormalize": False,
        },
        "seanet": {
            "dimension": 32,
            "channels": "${channels}",
            "causal": "${encodec.causal}",
            "n_filters": 4,
            "n_residual_layers": 1,
            "ratios": list(_RATIOS),
            "activation": "ELU",
            "activation_params": {"alpha": 1.0},
            "norm": "weight_norm",
            "norm_params": {},
            "kernel_size": 7,
            "residual_kernel_size": 3,
            "last_kernel_size": 7,
            "dilation_base": 2,
            "pad_mode": "constant",
            "true_skip": True,
            "compress": 2,
            "lstm": 2,
            "disable_norm_outer_blocks": 0,
            "encoder": {},
            "decoder": {
                "trim_right_ratio": 1.0,
                "final_activation": None,
                "final_activation_params": None,
            },
        },
        "rvq": {
            "n_q": CODEBOOKS,
            "q_dropout": False,
            "bins": CODEBOOK_SIZE,
            "decay": 0.99,
            "kmeans_init": True,
            "kmeans_iters": 50,
            "threshold_ema_dead_code": 2,
            "orthogonal_reg_weight": 0.0,
            "orthogonal_reg_active_codes_only": False,
        },
        "no_quant": {},
    }


def lm_config(*, melody: bool, stereo: bool) -> dict[str, Any]:
    """A MusicGen language model with a text condition; with `melody` a chroma prefix, with `stereo` the left
    and right channels' codebooks interleaved."""
    codebooks = CODEBOOKS * 2 if stereo else CODEBOOKS
    delays = [k // 2 for k in range(codebooks)] if stereo else list(range(codebooks))
    text = {
        "model": "t5",
        "t5": {"name": TEXT_ENCODER, "finetune": False, "word_dropout": 0.3, "normalize_text": False},
    }
    chroma = {
        "model": "chroma_stem",
        "chroma_stem": {
            "sample_rate": "${sample_rate}",
            "n_chroma": 12,
            "radix2_exp": 14,
            "argmax": True,
            "match_len_on_eval": False,
            "eval_wavs": None,
            "n_eval_wavs": 100,
            "cache_path": None,
        },
    }
    return {
        "solver": "musicgen",
        "device": "cpu",
        "dtype": "float32",
        "sample_rate": SAMPLE_RATE_HZ,
        "channels": 2 if stereo else 1,
        "compression_model_checkpoint": "",
        "compression_model_n_q": CODEBOOKS,
        "interleave_stereo_codebooks": {"use": stereo, "per_timestep": False},
        "dataset": {"segment_duration": WINDOW_S},
        "lm_model": "transformer_lm",
        "codebooks_pattern": {
            "modeling": "delay",
            "delay": {"delays": delays, "flatten_first": 0, "empty_initial": 0},
        },
        "transformer_lm": {
            "dim": 32,
            "num_heads": 4,
            "num_layers": 2,
            "hidden_scale": 4,
            "n_q": codebooks,
            "card": CODEBOOK_SIZE,
            "dropout": 0.0,
            "emb_lr": None,
            "activation": "gelu",
            "norm_first": True,
            "bias_ff": False,
            "bias_attn": False,
            "bias_proj": False,
            "past_context": None,
            "causal": True,
            "custom": False,
            "memory_efficient": True,
            "attention_as_float32": False,
            "layer_scale": None,
            "positional_embedding": "sin",
            "xpos": False,
            "checkpointing": "none",
            "weight_init": "gaussian",
            "depthwise_init": "current",
            "zero_bias_init": True,
            "norm": "layer_norm",
            "cross_attention": False,
            "qk_layer_norm": False,
            "qk_layer_norm_cross": False,
            "attention_dropout": None,
            "kv_repeat": 1,
            "two_step_cfg": False,
        },
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {},
        "fuser": {
            "cross_attention_pos_emb": False,
            "cross_attention_pos_emb_scale": 1,
            "sum": [],
            "prepend": ["self_wav", "description"] if melody else [],
            "cross": [] if melody else ["description"],
            "input_interpolate": [],
        },
        "conditioners": {"self_wav": chroma, "description": text} if melody else {"description": text},
    }
