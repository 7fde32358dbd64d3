/* Records of an instruction and a response. */
#include "data/dataset_impl.h"

#include <string.h>

static fl_kind_fields fields_of(const fl_dataset_reader *reader)
{
    const fl_dataset_options *o = &reader->options;
    if (!o->instruction_field[0]) return reader->kind->fields;
    return (fl_kind_fields){.instruction = o->instruction_field,
                            .input = o->input_field[0] ? o->input_field : NULL,
                            .response = o->response_field};
}

/* The reference's rule: instruction, or instruction + " " + input where there is one.  The
 * instruction is the task's, input and response are the instance's. */
static fl_status put(fl_dataset_reader *reader, const fl_kind_fields *fields, const json_t *task,
                     const json_t *instance)
{
    const char *where = fl_buf_text(&reader->where);
    const char *instruction, *response, *input = "";
    FL_TRY(fl_json_get_string(&instruction, task, fields->instruction, where));
    FL_TRY(fl_json_get_string(&response, instance, fields->response, where));
    if (fields->input && json_object_get(instance, fields->input))
        FL_TRY(fl_json_get_string(&input, instance, fields->input, where));

    fl_record record = {0};
    fl_buf *text = &reader->text;
    fl_buf_clear(text);
    FL_TRY(fl_buf_add_text(text, instruction));
    if (input[0]) FL_TRY(fl_buf_addf(text, " %s", input));
    FL_TRY(fl_reader_copy(reader, &record.instruction, &record.instruction_length,
                          fl_buf_text(text), text->length));
    FL_TRY(fl_reader_copy(reader, &record.response, &record.response_length, response,
                          strlen(response)));
    return fl_reader_put(reader, task, record);
}

fl_status fl_read_instruction(fl_dataset_reader *reader, const json_t *object)
{
    const fl_kind_fields fields = fields_of(reader);
    return put(reader, &fields, object, object);
}

/* One record per instance of the task. */
fl_status fl_read_seed_task(fl_dataset_reader *reader, const json_t *object)
{
    json_t *instances;
    FL_TRY(fl_json_get_array(&instances, object, "instances", fl_buf_text(&reader->where)));
    for (size_t i = 0; i < json_array_size(instances); i++)
        FL_TRY(put(reader, &reader->kind->fields, object, json_array_get(instances, i)));
    return FL_OK;
}
