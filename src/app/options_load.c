#include "app/options_load.h"

#include "base/file.h"
#include "fed/agree.h"

#include <string.h>

fl_status fl_share_text(fl_buf *text, fl_transport *transport, const char *path)
{
    bool root = fl_transport_rank(transport) == 0;
    FL_TRY(fl_agree(transport, root ? fl_file_read(text, path, FL_MAX_CONFIG) : FL_OK));
    uint64_t length = text->length;
    FL_TRY(fl_transport_bcast(transport, 0, &length, sizeof length));
    char *data;
    FL_TRY(fl_alloc(&data, length + 1, 1));
    if (root && length) memcpy(data, text->data, length);
    fl_status status = fl_transport_bcast(transport, 0, data, length);
    fl_buf_clear(text);
    if (status == FL_OK) status = fl_buf_add(text, data, length);
    fl_free(data);
    return status;
}

fl_status fl_options_load(fl_options *out, fl_transport *transport, const char *path, int argc,
                          char *const *argv)
{
    fl_buf text = {0};
    fl_status status = fl_share_text(&text, transport, path);
    if (status == FL_OK)
        status = fl_agree(transport, fl_options_parse(out, path, &text, argc, argv));
    fl_buf_fini(&text);
    return status;
}
