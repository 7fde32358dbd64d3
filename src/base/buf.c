#include "base/buf.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fl_buf_fini(fl_buf *buf)
{
    fl_free(buf->data);
    *buf = (fl_buf){0};
}

void fl_buf_clear(fl_buf *buf)
{
    buf->length = 0;
    if (buf->data) buf->data[0] = 0;
}

const char *fl_buf_text(const fl_buf *buf)
{
    return buf->data ? buf->data : "";
}

static fl_status reserve(fl_buf *buf, size_t more)
{
    FL_CHECK(more < (size_t)-1 - buf->length - 1, FL_ERR_MEMORY, "text is too long");
    return fl_grow(&buf->data, &buf->capacity, buf->length + more + 1, 1);
}

fl_status fl_buf_add(fl_buf *buf, const void *data, size_t length)
{
    FL_TRY(reserve(buf, length));
    if (length) memcpy(buf->data + buf->length, data, length);
    buf->length += length;
    buf->data[buf->length] = 0;
    return FL_OK;
}

fl_status fl_buf_add_text(fl_buf *buf, const char *text)
{
    return fl_buf_add(buf, text, strlen(text));
}

fl_status fl_buf_addf(fl_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    fl_status status = length < 0 ? fl_fail(FL_ERR_INTERNAL, "bad format \"%s\"", format)
                                  : reserve(buf, (size_t)length);
    if (status == FL_OK) {
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    return status;
}

const char *fl_trim(const char *text, size_t *length)
{
    while (*length && isspace((unsigned char)text[*length - 1]))
        --*length;
    for (; *length && isspace((unsigned char)*text); text++)
        --*length;
    return text;
}

void fl_unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        char c = *from;
        if (c == '\\' && (from[1] == 'n' || from[1] == 't' || from[1] == '\\'))
            c = *++from == 'n' ? '\n' : *from == 't' ? '\t' : '\\';
        *to++ = c;
    }
    *to = 0;
}
