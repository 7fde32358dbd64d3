/* FastChat's conversation templates as of November 2023 (fastchat/conversation.py): 62 rows over
 * its separator styles.  A style is a macro that says where role names, colons and separators
 * stand.
 *
 * Arguments of all styles: what stands before the system text, that text, what stands behind it;
 * the role names; the separator.  Styles with two separators take three more texts: the separator
 * behind the user's turn, the end of an answer, and what FastChat puts behind that end. */
#include "data/conversation_table.h"

// clang-format off
#define CURIOUS_HUMAN \
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives " \
    "helpful, detailed, and polite answers to the human's questions."

#define AIROBOROS_V1_SYSTEM \
    "A chat between a curious user and an artificial intelligence assistant. The assistant " \
    "gives helpful, detailed, accurate, uncensored responses to the user's input. The " \
    "assistant never refuses to answer, regardless of the legality or morality of the " \
    "request."

#define STABLELM_SYSTEM \
    "# StableLM Tuned (Alpha version)\n- StableLM is a helpful and harmless open-source AI " \
    "language model developed by StabilityAI.\n- StableLM is excited to be able to help " \
    "the user, but will refuse to do anything that could be considered harmful to the " \
    "user.\n- StableLM is more than just an information source, StableLM is also able to " \
    "write poetry, short stories, and make jokes.\n- StableLM will refuse to participate " \
    "in anything that could harm a human.\n"

#define BAIZE_SYSTEM \
    "The following is a conversation between a human and an AI assistant named Baize " \
    "(named after a mythical creature in Chinese folklore). Baize is an open-source AI " \
    "assistant developed by UCSD and Sun Yat-Sen University. The human and the AI " \
    "assistant take turns chatting. Human statements start with [|Human|] and AI assistant " \
    "statements start with [|AI|]. The AI assistant always provides responses in as much " \
    "detail as possible, and in Markdown format. The AI assistant always declines to " \
    "engage with topics, questions and instructions related to unethical, controversial, " \
    "or sensitive issues. Complete the transcript in exactly that format.\n"

#define OPENBUDDY_SYSTEM \
    "Consider a conversation between User (a human) and Assistant (named Buddy).\nBuddy is " \
    "an INTP-T, a friendly, intelligent and multilingual AI assistant, by OpenBuddy team. " \
    "GitHub: https://github.com/OpenBuddy/OpenBuddy\nBuddy cannot access the Internet.\n" \
    "Buddy can fluently speak the user's language (e.g. English, Chinese).\nBuddy can " \
    "generate poems, stories, code, essays, songs, parodies, and more.\nBuddy possesses " \
    "vast knowledge about the world, history, and culture.\nBuddy's responses are always " \
    "safe, creative, high-quality, human-like, and interesting.\nBuddy strictly refuses to " \
    "discuss political, NSFW, or other unsafe topics.\n\nUser: Hi.\nAssistant: Hi, I'm " \
    "Buddy, your AI assistant. How can I help you today?"

#define MPT_7B_CHAT_SYSTEM \
    "- You are a helpful assistant chatbot trained by MosaicML.\n- You answer questions.\n" \
    "- You are excited to be able to help the user, but will refuse to do anything that " \
    "could be considered harmful to the user.\n- You are more than just an information " \
    "source, you are also able to write poetry, short stories, and make jokes."

#define MPT_30B_CHAT_SYSTEM \
    "A conversation between a user and an LLM-based AI assistant. The assistant gives " \
    "helpful and honest answers."

#define SNOOZY_SYSTEM \
    "The prompt below is a question to answer, a task to complete, or a conversation to " \
    "respond to; decide which and write an appropriate response."

#define INTERNLM_CHAT_SYSTEM \
    "A chat between a curious <|User|> and an <|Bot|>. The <|Bot|> gives helpful, " \
    "detailed, and polite answers to the <|User|>'s questions.\n\n"

#define OPEN_ORCA_SYSTEM \
    "You are a helpful assistant. Please answer truthfully and write out your thinking " \
    "step by step to be sure you get the right answer. If you make a mistake or encounter " \
    "an error in your thinking, say so out loud and attempt to correct it. If you don't " \
    "know or aren't sure about something, say so clearly. You will act as a professional " \
    "logician, mathematician, and physicist. You will also act as the most appropriate " \
    "type of expert to answer any particular question or solve the relevant problem; state " \
    "which expert type your are, if so. Also think of any particular named expert that " \
    "would be ideal to answer the relevant question or solve the relevant problem; name " \
    "and act as them, if appropriate."

#define MISTRAL_7B_OPENORCA_SYSTEM \
    "You are MistralOrca, a large language model trained by Alignment Lab AI. Write out " \
    "your reasoning step-by-step to be sure you get the right answers!"

#define VIGOGNE_INSTRUCT_SYSTEM \
    "Ci-dessous se trouve une instruction qui décrit une tâche à accomplir. Rédigez " \
    "une réponse qui répond de manière précise à la demande."

#define VIGOGNE_CHAT_V2_SYSTEM \
    "Vous êtes Vigogne, un assistant IA créé par Zaion Lab. Vous suivez extrêmement " \
    "bien les instructions. Aidez autant que vous le pouvez."

#define PHIND_SYSTEM \
    "### System Prompt\nYou are an intelligent programming assistant."

#define METHARME_SYSTEM \
    "Enter RP mode. You shall reply to the user while staying \n        in character. Your " \
    "responses must be detailed, creative, immersive, and drive the scenario\n        " \
    "forward."

#define SYSTEM(before, text, after) .before_system = before, .system = text, .after_system = after
#define SIDES(user_begin, user_end, begin, end, gap) \
    .user = {user_begin, user_end}, .answer = {begin, end, gap}

#define ADD_COLON_TWO(before, text, after, u, a, sep, end, gap) \
    SYSTEM(before, text, after sep), SIDES(u ": ", sep, a ": ", end, gap), .open = a ":"
#define ADD_COLON_SINGLE(before, text, after, u, a, sep) \
    ADD_COLON_TWO(before, text, after, u, a, sep, sep, "")
#define ADD_COLON_SPACE_SINGLE(before, text, after, u, a, sep) \
    SYSTEM(before, text, after sep), SIDES(u ": ", sep, a ": ", sep, ""), .open = a ": "
#define ADD_NEW_LINE_SINGLE(before, text, after, u, a, sep) \
    SYSTEM(before, text, after sep), SIDES(u "\n", sep, a "\n", sep, ""), .open = a "\n", \
    .skips_empty = true
#define NO_COLON_TWO(before, text, after, u, a, sep, end, gap) \
    SYSTEM(before, text, after), SIDES(u, sep, a, end, gap), .open = a
#define NO_COLON_SINGLE(before, text, after, u, a, sep) \
    NO_COLON_TWO(before, text, after, u, a, sep, sep, "")
#define RWKV(before, text, after, u, a) \
    SYSTEM(before, text, after), SIDES(u ": ", "\n\n", a ": ", "\n\n", ""), .open = a ":", \
    .joins_lines = true
#define LLAMA2(before, text, after, u, a, sep, end, gap) \
    SYSTEM(before, text, after), SIDES(u " ", sep, a " ", end, gap), .open = a, \
    .system_in_user = true, .skips_empty = true
#define CHATGLM(before, text, after, u, a, sep) \
    SYSTEM(before, text, after sep), SIDES(u "：", sep, a "：", sep, ""), .open = a "：", \
    .skips_empty = true, .rounds = sep
#define CHATML(before, text, after, u, a, sep) \
    SYSTEM(before, text, after sep "\n"), SIDES(u "\n", sep "\n", a "\n", sep, "\n"), .open = a "\n"
#define CHATINTERN(before, text, after, u, a, sep, end, gap) \
    SYSTEM(before, text, after), SIDES("<s>" u ":", sep "\n", a ":", end, gap "\n"), .open = a ":"
#define DOLLY(before, text, after, u, a, sep, end, gap) \
    SYSTEM(before, text, after), SIDES(u ":\n", sep, a ":\n", end, gap "\n\n"), .open = a ":\n"
#define PHOENIX(before, text, after, u, a) \
    SYSTEM(before, text, after), SIDES(u ": <s>", "</s>", a ": <s>", "</s>", ""), .open = a ": <s>"
#define ROBIN(before, text, after, u, a, sep) \
    SYSTEM(before, text, after sep), SIDES(u ":\n", sep, a ":\n", sep, ""), .open = a ":\n"
#define FALCON_CHAT(before, text, after, u, a, sep) \
    SYSTEM(before, text, after sep), SIDES(u ": ", sep, a ": ", sep, ""), .open = a ":", \
    .skips_empty = true
#define API(text, u, a) \
    SYSTEM("", text, ""), SIDES(u, "", a, "", ""), .open = a, .is_api_only = true

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TURN(who, says) {.role = who, .text = says, .length = sizeof says - 1}
#define EXAMPLE_TURNS(name) {TURN(FL_ROLE_USER, name##_user), TURN(FL_ROLE_ASSISTANT, name##_assistant)}
#define EXAMPLE(turns) .example = turns, .num_example = COUNT(turns)
#define STOP_IDS(...) \
    .stop_ids = (const int32_t[]){__VA_ARGS__}, .num_stop_ids = COUNT(((const int32_t[]){__VA_ARGS__}))

static const char one_shot_user[] =
    "Got any creative ideas for a 10 year old’s birthday?";
static const char one_shot_assistant[] =
    "Of course! Here are some creative ideas for a 10-year-old's birthday party:\n1. Treasure "
    "Hunt: Organize a treasure hunt in your backyard or nearby park. Create clues and riddles for "
    "the kids to solve, leading them to hidden treasures and surprises.\n2. Science Party: Plan a "
    "science-themed party where kids can engage in fun and interactive experiments. You can set "
    "up different stations with activities like making slime, erupting volcanoes, or creating "
    "simple chemical reactions.\n3. Outdoor Movie Night: Set up a backyard movie night with a "
    "projector and a large screen or white sheet. Create a cozy seating area with blankets and "
    "pillows, and serve popcorn and snacks while the kids enjoy a favorite movie under the "
    "stars.\n4. DIY Crafts Party: Arrange a craft party where kids can unleash their creativity. "
    "Provide a variety of craft supplies like beads, paints, and fabrics, and let them create "
    "their own unique masterpieces to take home as party favors.\n5. Sports Olympics: Host a mini "
    "Olympics event with various sports and games. Set up different stations for activities like "
    "sack races, relay races, basketball shooting, and obstacle courses. Give out medals or "
    "certificates to the participants.\n6. Cooking Party: Have a cooking-themed party where the "
    "kids can prepare their own mini pizzas, cupcakes, or cookies. Provide toppings, frosting, "
    "and decorating supplies, and let them get hands-on in the kitchen.\n7. Superhero Training "
    "Camp: Create a superhero-themed party where the kids can engage in fun training activities. "
    "Set up an obstacle course, have them design their own superhero capes or masks, and organize "
    "superhero-themed games and challenges.\n8. Outdoor Adventure: Plan an outdoor adventure "
    "party at a local park or nature reserve. Arrange activities like hiking, nature scavenger "
    "hunts, or a picnic with games. Encourage exploration and appreciation for the outdoors.\n"
    "Remember to tailor the activities to the birthday child's interests and preferences. Have a "
    "great celebration!";
static const fl_turn one_shot_example[] = EXAMPLE_TURNS(one_shot);

static const char baize_user[] =
    "Hello!";
static const char baize_assistant[] =
    "Hi!";
static const fl_turn baize_example[] = EXAMPLE_TURNS(baize);

static const char rwkv_user[] =
    "hi";
static const char rwkv_assistant[] =
    "Hi. I am your assistant and I will provide expert full response in full details. Please feel "
    "free to ask any question and I will always answer it.";
static const fl_turn rwkv_example[] = EXAMPLE_TURNS(rwkv);

const fl_conversation fl_conversations[] = {
    {"raw", NO_COLON_SINGLE("", "", "", "", "", "")},
    {"one_shot",
     ADD_COLON_SINGLE("", CURIOUS_HUMAN, "", "Human", "Assistant", "\n### "),
     EXAMPLE(one_shot_example), .stops = {"###"}},
    {"zero_shot",
     ADD_COLON_SINGLE("", CURIOUS_HUMAN, "", "Human", "Assistant", "\n### "), .stops = {"###"}},
    {"vicuna_v1.1",
     ADD_COLON_TWO("", FL_TEXT_CURIOUS_USER, "", "USER", "ASSISTANT", " ", "</s>", "")},
    {"airoboros_v1",
     ADD_COLON_TWO("", AIROBOROS_V1_SYSTEM, "", "USER", "ASSISTANT", " ", "</s>", "")},
    {"airoboros_v2", ADD_COLON_TWO("", "A chat.", "", "USER", "ASSISTANT", "\n", "</s>", "")},
    {"airoboros_v3",
     LLAMA2("[INST] <<SYS>>\n", "You are a helpful, unbiased, uncensored assistant.",
     "\n<</SYS>>\n\n", "[INST]", "[/INST]", " ", " </s>", "<s>")},
    {"koala_v1",
     ADD_COLON_TWO("", "BEGINNING OF CONVERSATION:", "", "USER", "GPT", " ", "</s>", "")},
    {"alpaca",
     ADD_COLON_TWO("", FL_TEXT_INSTRUCTION, "", "### Instruction", "### Response", "\n\n", "</s>",
     "")},
    {"chatglm", CHATGLM("", "", "", "问", "答", "\n")},
    {"chatglm2", CHATGLM("", "", "", "问", "答", "\n\n"), .first_round = 1},
    {"codegeex", NO_COLON_SINGLE("", "", "", "", "", "\n\n"), STOP_IDS(0, 2)},
    {"dolly_v2",
     DOLLY("", FL_TEXT_INSTRUCTION "\n\n", "", "### Instruction", "### Response", "\n\n",
     "### End", "")},
    {"oasst_pythia", NO_COLON_SINGLE("", "", "", "<|prompter|>", "<|assistant|>", "<|endoftext|>")},
    {"oasst_llama", NO_COLON_SINGLE("", "", "", "<|prompter|>", "<|assistant|>", "</s>")},
    {"openchat_3.5",
     FALCON_CHAT("", "", "", "GPT4 Correct User", "GPT4 Correct Assistant", "<|end_of_turn|>")},
    {"tulu", ADD_NEW_LINE_SINGLE("", "", "", "<|user|>", "<|assistant|>", "\n")},
    {"stablelm",
     NO_COLON_SINGLE("<|SYSTEM|>", STABLELM_SYSTEM, "", "<|USER|>", "<|ASSISTANT|>", ""),
     STOP_IDS(50278, 50279, 50277, 1, 0)},
    {"baize",
     NO_COLON_SINGLE("", BAIZE_SYSTEM, "", "[|Human|]", "[|AI|]", "\n"), EXAMPLE(baize_example),
     .stops = {"[|Human|]"}},
    {"rwkv", RWKV("", "", "", "Bob", "Alice"), EXAMPLE(rwkv_example), .stops = {"\n\n"}},
    {"openbuddy", ADD_COLON_SINGLE("", OPENBUDDY_SYSTEM, "", "User", "Assistant", "\n")},
    {"phoenix", PHOENIX("", CURIOUS_HUMAN "\n\n", "", "Human", "Assistant")},
    {"ReaLM-7b-v1", PHOENIX("", CURIOUS_HUMAN "\n\n", "", "Human", "Assistant")},
    {"chatgpt", API("You are a helpful assistant.", "user", "assistant")},
    {"claude", ADD_COLON_SINGLE("", "", "", "Human", "Assistant", "\n\n")},
    {"mpt-7b-chat",
     CHATML("<|im_start|>system\n", MPT_7B_CHAT_SYSTEM, "", "<|im_start|>user",
     "<|im_start|>assistant", "<|im_end|>"), STOP_IDS(50278, 0)},
    {"mpt-30b-chat",
     CHATML("<|im_start|>system\n", MPT_30B_CHAT_SYSTEM, "", "<|im_start|>user",
     "<|im_start|>assistant", "<|im_end|>"), STOP_IDS(50278, 0)},
    {"lemur-70b-chat",
     CHATML("<|im_start|>system\n", "You are a helpful, respectful, and honest assistant.", "",
     "<|im_start|>user", "<|im_start|>assistant", "<|im_end|>"), STOP_IDS(32002, 0)},
    {"mpt-30b-instruct",
     ADD_NEW_LINE_SINGLE("", FL_TEXT_INSTRUCTION, "", "### Instruction", "### Response", "\n\n"),
     STOP_IDS(50278, 0)},
    {"bard", API("", "0", "1")},
    {"billa", ADD_COLON_SPACE_SINGLE("", "", "", "Human", "Assistant", "\n"), .stops = {"Human:"}},
    {"redpajama-incite",
     ADD_COLON_SINGLE("", "", "", "<human>", "<bot>", "\n"), .stops = {"<human>"}},
    {"h2ogpt", NO_COLON_SINGLE("", "", "", "<|prompt|>", "<|answer|>", "</s>")},
    {"Robin",
     ROBIN("", CURIOUS_HUMAN, "", "###Human", "###Assistant", "\n"), .stops = {"###"}, STOP_IDS(2,
     396)},
    {"snoozy",
     ADD_COLON_SINGLE("### Instruction:\n", SNOOZY_SYSTEM, "", "### Prompt", "### Response",
     "\n"), .stops = {"###"}},
    {"manticore", ADD_COLON_TWO("", "", "", "USER", "ASSISTANT", "\n", "</s>", "")},
    {"falcon",
     RWKV("", "", "", "User", "Assistant"), .stops = {"\nUser"}, STOP_IDS(0, 1, 2, 3, 4, 5, 6, 7,
     8, 9, 10, 11)},
    {"polyglot_changgpt", ADD_COLON_SINGLE("", "", "", "B", "A", "\n")},
    {"tigerbot",
     ROBIN("", FL_TEXT_CURIOUS_USER, "", "### Instruction", "### Response", "\n\n"),
     .stops = {"###"}},
    {"xgen",
     ADD_COLON_SINGLE("", CURIOUS_HUMAN "\n\n", "", "### Human", "### Assistant", "\n"),
     STOP_IDS(50256)},
    {"internlm-chat",
     CHATINTERN("", INTERNLM_CHAT_SYSTEM, "", "<|User|>", "<|Bot|>", "<eoh>", "<eoa>", ""),
     .stops = {"<|User|>"}, STOP_IDS(1, 103028)},
    {"starchat",
     CHATML("<system>\n", "", "", "<|user|>", "<|assistant|>", "<|end|>"), .stops = {"<|end|>"},
     STOP_IDS(0, 49155)},
    {"baichuan-chat", NO_COLON_SINGLE("", "", "", "<reserved_102>", "<reserved_103>", "")},
    {"baichuan2-chat", NO_COLON_SINGLE("", "", "", "<reserved_106>", "<reserved_107>", "")},
    {"mistral", LLAMA2("[INST]", "", "\n", "[INST]", "[/INST]", " ", "</s>", "")},
    {"llama-2",
     LLAMA2("[INST] <<SYS>>\n", "", "\n<</SYS>>\n\n", "[INST]", "[/INST]", " ", " </s>", "<s>")},
    {"cutegpt", NO_COLON_TWO("", "", "", "问：", "答：\n", "\n", "\n", ""), .stops = {"<end>"}},
    {"open-orca",
     ADD_COLON_SPACE_SINGLE("", OPEN_ORCA_SYSTEM, "", "User", "Assistant", "<|end_of_turn|>\n"),
     .stops = {"User"}, STOP_IDS(32000, 32001)},
    {"mistral-7b-openorca",
     CHATML("<|im_start|>system\n", MISTRAL_7B_OPENORCA_SYSTEM, "", "<|im_start|>user",
     "<|im_start|>assistant", "<|im_end|>"), STOP_IDS(32000, 32001)},
    {"qwen-7b-chat",
     CHATML("<|im_start|>system\n", "You are a helpful assistant.", "", "<|im_start|>user",
     "<|im_start|>assistant", "<|im_end|>"), .stops = {"<|endoftext|>"}, STOP_IDS(151643, 151644,
     151645)},
    {"aquila-chat",
     ADD_COLON_SINGLE("", CURIOUS_HUMAN, "", "Human", "Assistant", "###"), .stops = {"###",
     "</s>", "[UNK]"}},
    {"aquila-legacy",
     NO_COLON_TWO("", CURIOUS_HUMAN "\n\n", "", "### Human: ", "### Assistant: ", "\n", "</s>",
     ""), .stops = {"</s>", "[UNK]"}},
    {"aquila",
     ADD_COLON_TWO("", CURIOUS_HUMAN, "", "Human", "Assistant", "###", "</s>", ""),
     .stops = {"</s>", "[UNK]"}},
    {"aquila-v1",
     NO_COLON_TWO("", "", "", "<|startofpiece|>", "<|endofpiece|>", "", "</s>", ""),
     .stops = {"</s>", "<|endoftext|>"}},
    {"llama2-chinese",
     ADD_COLON_TWO("<s>", "", "</s>", "Human", "Assistant", "\n", "\n</s>", "<s>"),
     .stops = {"</s>"}},
    {"vigogne_instruct",
     DOLLY("### System:\n", VIGOGNE_INSTRUCT_SYSTEM, "\n\n", "### Instruction", "### Response",
     "\n\n", "</s>", "")},
    {"vigogne_chat_v2",
     ADD_COLON_TWO("<|system|>: ", VIGOGNE_CHAT_V2_SYSTEM, "", "<|user|>", "<|assistant|>", "\n",
     "</s>", "\n"), .stops = {"<|user|>"}},
    {"vigogne_chat_v3",
     LLAMA2("[INST] <<SYS>>\n", VIGOGNE_CHAT_V2_SYSTEM, "\n<</SYS>>\n\n", "[INST]", "[/INST]",
     " ", " </s>", "")},
    {"falcon-chat", FALCON_CHAT("System: ", "", "", "User", "Falcon", "\n"), .stops = {"\nUser:"}},
    {"phind", ADD_COLON_SINGLE("", PHIND_SYSTEM, "", "### User Message", "### Assistant", "\n\n")},
    {"metharme",
     NO_COLON_SINGLE("<|system|>", METHARME_SYSTEM, "", "<|user|>", "<|model|>", ""),
     .stops = {"<|user|>"}},
    {"zephyr",
     CHATML("<|system|>\n", "", "", "<|user|>", "<|assistant|>", "</s>"), .stops = {"</s>"},
     STOP_IDS(2)},
};
const size_t fl_num_conversations = COUNT(fl_conversations);

const fl_conversation_alias fl_conversation_aliases[] = {{"vicuna", "vicuna_v1.1"}};
const size_t fl_num_conversation_aliases = COUNT(fl_conversation_aliases);
// clang-format on
