"""Random tiny models of many architectures: what the ledger must record exactly, or refuse by name."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

COMMON = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "vocab_size": 320, "max_position_embeddings": 64, "head_dim": 8,
    "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = EXPERTS | {
    "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1,
    "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "head_dim": 4, "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8, "v_head_dim": 8,
}  # fmt: skip
MAMBA = {"state_size": 4}
# Model types of transformers with what their configuration calls by other names.
EXACT = {
    "apertus": {}, "arcee": {}, "biogpt": {}, "bloom": {"n_layer": 2, "n_head": 4},
    "codegen": GPT | {"rotary_dim": 4}, "cohere": {}, "cohere2": {}, "ctrl": GPT | {"dff": 48},
    "deepseek_v2": LATENT, "deepseek_v3": LATENT, "diffllama": {}, "electra": {"is_decoder": True},
    "ernie4_5": {}, "exaone4": {}, "falcon_mamba": MAMBA, "gemma": {}, "gemma2": {}, "gemma3_text": {},
    "glm": {}, "glm4": {}, "gpt2": GPT, "gpt_bigcode": GPT, "gpt_neox": {},
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
                "window_size": 8},
    "gptj": GPT | {"rotary_dim": 4}, "granite": {}, "helium": {}, "llama": {}, "mamba": MAMBA,
    "mamba2": MAMBA | {"num_heads": 8, "n_groups": 2, "chunk_size": 4}, "mistral": {}, "mixtral": EXPERTS,
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}, "nemotron": {}, "olmo": {},
    "olmo2": {}, "olmoe": EXPERTS, "openai-gpt": GPT, "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "persimmon": {}, "phi": {}, "phi3": {}, "qwen2": {},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 16}, "qwen3": {}, "qwen3_moe": EXPERTS,
    "recurrent_gemma": {"attention_window_size": 8, "lru_width": 32}, "roberta": {"is_decoder": True},
    "rwkv": {"attention_hidden_size": 32, "context_length": 64}, "smollm3": {}, "stablelm": {},
    "starcoder2": {}, "xglm": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 48},
}  # fmt: skip
# Model type: the module that its refusal names.
REFUSED = {"bert": "bert.encoder.layer.1.attention.self.value"}


def architecture(name: str) -> PreTrainedModel:
    """A model of that type with random weights, a few tens of thousands of them, in evaluation mode."""
    config = AutoConfig.for_model(name, **COMMON | EXACT.get(name, {}))
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
