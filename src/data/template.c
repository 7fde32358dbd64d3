#include "data/template.h"

#include "data/conversation_table.h"

#include <string.h>

/* Texts of the reference system, byte for byte (its space after the alpaca instruction too). */
static const fl_template templates[] = {
    {
        .name = "alpaca",
        .before = FL_TEXT_INSTRUCTION "\n\n### Instruction:\n",
        .between = " \n\n### Response: ",
        .response_key = "\n### Response:",
    },
    {
        .name = "vicuna",
        .before = FL_TEXT_CURIOUS_USER " USER: ",
        .between = " ASSISTANT: ",
        .response_key = " ASSISTANT:",
    },
};

const fl_template *fl_template_find(const char *name)
{
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (strcmp(templates[i].name, name) == 0) return &templates[i];
    return NULL;
}

const char *fl_template_names(void)
{
    return FL_TEMPLATE_NAMES;
}

fl_status fl_template_render(fl_buf *out, const fl_template *template, const char *instruction,
                             size_t instruction_length, const char *response,
                             size_t response_length, const char *eos_text)
{
    FL_TRY(fl_buf_add_text(out, template->before));
    FL_TRY(fl_buf_add(out, instruction, instruction_length));
    FL_TRY(fl_buf_add_text(out, template->between));
    FL_TRY(fl_buf_add(out, response, response_length));
    return fl_buf_add_text(out, eos_text);
}

fl_status fl_template_render_prompt(fl_buf *out, const fl_template *template,
                                    const char *instruction, size_t instruction_length)
{
    FL_TRY(fl_buf_add_text(out, template->before));
    FL_TRY(fl_buf_add(out, instruction, instruction_length));
    // Every template ends its fixed text with the one space that a prompt must not have.
    return fl_buf_add(out, template->between, strlen(template->between) - 1);
}
