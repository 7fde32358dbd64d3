/* What each known form writes.  tests/golden/chat_template_sources.py has the templates, and
 * make_chat_template_golden.py what Transformers makes of them. */
#include "data/chat_template_table.h"

// clang-format off
#define TRIMS .trims_system = true, .trims_user = true, .trims_answer = true
#define CHATML \
    .before_system = "<|im_start|>system\n", .after_system = "<|im_end|>\n", \
    .user = {"<|im_start|>user\n", "<|im_end|>\n"}, \
    .answer = {"<|im_start|>assistant\n", "<|im_end|>", "\n"}, .open = "<|im_start|>assistant\n"
#define LLAMA3_TURNS \
    .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"}, \
    .answer = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", ""}, \
    .open = "<|start_header_id|>assistant<|end_header_id|>\n\n", TRIMS
#define LLAMA3 \
    .start = "{bos}", .before_system = "<|start_header_id|>system<|end_header_id|>\n\n", \
    .after_system = "<|eot_id|>", LLAMA3_TURNS
#define PHI3_OLD \
    .user = {"<|user|>\n", "<|end|>\n<|assistant|>\n"}, .answer = {"", "<|end|>", "\n"}, .open = "", \
    .no_system = true
#define PHI3 \
    .before_system = "<|system|>\n", .after_system = "<|end|>\n", \
    .user = {"<|user|>\n", "<|end|>\n"}, .answer = {"<|assistant|>\n", "<|end|>", "\n"}, \
    .open = "<|assistant|>\n"
#define GEMMA \
    .user = {"<start_of_turn>user\n", "<end_of_turn>\n"}, \
    .answer = {"<start_of_turn>model\n", "<end_of_turn>", "\n"}, .open = "<start_of_turn>model\n", \
    .no_system = true, .in_turn = true, TRIMS

const fl_known_template fl_known_templates[] = {
    // ChatML with any markers
    {.form = 0xbd69688479de30bfu, .free = {1, 2, 3, 4, 5},
     .format = {
        .name = "chatml", .before_system = "{1}system{2}", .after_system = "{3}{4}",
        .user = {"{1}user{2}", "{3}{4}"}, .answer = {"{1}assistant{2}", "{3}", "{4}"}, .open = "{5}"}},
    {.form = 0x60d509306721562au, .free = {1, 2, 3, 4, 5},
     .format = {
        .name = "chatml-bos", .start = "{bos}", .before_system = "{1}system{2}", .after_system = "{3}{4}",
        .user = {"{1}user{2}", "{3}{4}"}, .answer = {"{1}assistant{2}", "{3}", "{4}"}, .open = "{5}"}},
    // Qwen1.5, Qwen2, SmolLM2
    {.form = 0xfdbfa5460584b6b2u, .free = {2}, .system_is_turn = true,
     .format = {
        .name = "qwen2", CHATML, .system = "{1}"}},
    // Qwen2.5, with any default system text
    {.form = 0x6ec1c922cebe211eu, .free = {3, 10}, .system_is_turn = true,
     .format = {
        .name = "qwen2.5", CHATML, .system = "{2}"}},
    // Qwen3, which thinks
    {.form = 0x482657ed0223e768u,
     .format = {
        .name = "qwen3", CHATML, .thinks = true}},
    // AlphaMonarch
    {.form = 0xf9c2fc6728702c4bu,
     .format = {
        .name = "monarch", .before_system = "{bos}system\n", .after_system = "{eos}\n",
        .user = {"{bos}user\n", "{eos}\n"}, .answer = {"{bos}assistant\n", "{eos}", "\n"}, .open = "{bos}assistant\n"}},
    // Llama-2-chat
    {.form = 0xce7c7203db027e49u,
     .format = {
        .name = "llama2", .before_system = "{bos}[INST] <<SYS>>\n", .after_system = "\n<</SYS>>\n\n",
        .user = {"{bos}[INST] ", " [/INST]"}, .answer = {" ", " {eos}", ""}, .open = "",
        .system_in_user = true, .in_turn = true, .trims_user = true, .trims_answer = true}},
    // Llama-3
    {.form = 0x2d0624acc05c2f90u,
     .format = {
        .name = "llama3", LLAMA3}},
    // Llama-3 in its first weeks: always ends in an open answer
    {.form = 0x1d4c31cf8b20abafu,
     .format = {
        .name = "llama3-first", LLAMA3}},
    // Llama-3.1 and 3.3
    {.form = 0x2cfa25266601b564u,
     .format = {
        .name = "llama3.1", .system = "", .start = "{bos}",
        .before_system = "<|start_header_id|>system<|end_header_id|>\n\n"
                         "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
        .after_system = "<|eot_id|>", LLAMA3_TURNS}},
    // Llama-3.2 asks for the day; a run must not depend on it, so it is the one that the template
    // itself falls back to
    {.form = 0x57863758c99d6039u,
     .format = {
        .name = "llama3.2", .system = "", .start = "{bos}",
        .before_system = "<|start_header_id|>system<|end_header_id|>\n\n"
                         "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
        .after_system = "<|eot_id|>", LLAMA3_TURNS}},
    // Mistral-7B-Instruct
    {.form = 0x3ec197ea5169a23cu,
     .format = {
        .name = "mistral-v0.1", .start = "{bos}", .user = {"[INST] ", " [/INST]"}, .answer = {"", "{eos}", " "}, .open = "",
        .no_system = true, .in_turn = true}},
    {.form = 0x86ef4b4b49e55d08u,
     .format = {
        .name = "mistral-v0.2", .start = "{bos}", .user = {"[INST] ", " [/INST]"}, .answer = {"", "{eos}", ""}, .open = "",
        .no_system = true, .in_turn = true}},
    {.form = 0xd852f330761306e0u,
     .format = {
        .name = "mistral-v0.2-system", .start = "{bos}", .before_system = " [INST] ", .after_system = "\n\n",
        .user = {" [INST] ", " [/INST]"}, .answer = {" ", "{eos}", ""}, .open = "",
        .system_in_user = true, .in_turn = true}},
    {.form = 0x8891fedf5a4b870eu,
     .format = {
        .name = "mistral-v0.3", .start = "{bos}", .before_system = "[INST] ", .after_system = "\n\n",
        .user = {"[INST] ", "[/INST]"}, .answer = {" ", "{eos}", ""}, .open = "",
        .system_in_last = true, .in_turn = true, .trims_answer = true}},
    // Zephyr, TinyLlama
    {.form = 0xd19e347334ede471u,
     .format = {
        .name = "zephyr", .before_system = "<|system|>\n", .after_system = "{eos}\n",
        .user = {"<|user|>\n", "{eos}\n"}, .answer = {"<|assistant|>\n", "{eos}", "\n"}, .open = "<|assistant|>\n"}},
    // Phi-3, several versions
    {.form = 0x201d4aad651b7d8cu,
     .format = {
        .name = "phi3-first", .start = "{bos}", PHI3_OLD}},
    {.form = 0x44ddf8047d7cb1d1u,
     .format = {
        .name = "phi3-medium", PHI3_OLD}},
    {.form = 0xfcd4aed0811751cfu,
     .format = {
        .name = "phi3", PHI3, .finish = "{eos}"}},
    // Phi-3.5: an empty system text is none
    {.form = 0xeb96e5bccacc3810u,
     .format = {
        .name = "phi3.5", PHI3, .finish = "{eos}", .skips_empty = true}},
    {.form = 0x329d1c176240230fu,
     .format = {
        .name = "phi3-small", .start = "{bos}", PHI3, .finish = "{eos}"}},
    // Gemma, Gemma-2
    {.form = 0x1116437b3d13584eu,
     .format = {
        .name = "gemma", .start = "{bos}", GEMMA}},
    {.form = 0x5469de1056757cb5u,
     .format = {
        .name = "gemma-without-bos", GEMMA}},
    // OpenChat-3.5
    {.form = 0xb0ff34fa29c055d6u,
     .format = {
        .name = "openchat", .start = "{bos}", .before_system = "GPT4 Correct System: ",
        .after_system = "<|end_of_turn|>",
        .user = {"GPT4 Correct User: ", "<|end_of_turn|>"}, .answer = {"GPT4 Correct Assistant: ", "<|end_of_turn|>", ""}, .open = "GPT4 Correct Assistant:"}},
    // DeepSeek-LLM, DeepSeek-V2
    {.form = 0x589640f280ba6d11u,
     .format = {
        .name = "deepseek", .start = "{bos}", .before_system = "", .after_system = "\n\n",
        .user = {"User: ", "\n\n"}, .answer = {"Assistant: ", "{eos}", ""}, .open = "Assistant:"}},
    // Vicuna and Alpaca, which models of their kind carry
    {.form = 0x0ea7b26409e0c336u,
     .format = {
        .name = "vicuna", .start = "{bos}", .before_system = "", .after_system = "\n\n",
        .user = {"USER: ", "\n"}, .answer = {"ASSISTANT: ", "{eos}", "\n"}, .open = "ASSISTANT:",
        .in_turn = true, TRIMS}},
    {.form = 0xc49da520d407013cu,
     .format = {
        .name = "alpaca", .start = "{bos}", .before_system = "", .after_system = "\n\n",
        .user = {"### Instruction:\n", "\n\n"}, .answer = {"### Response:\n", "{eos}", "\n\n"}, .open = "### Response:\n",
        .in_turn = true, TRIMS}},
};
// clang-format on
const size_t fl_num_known_templates = sizeof fl_known_templates / sizeof fl_known_templates[0];
