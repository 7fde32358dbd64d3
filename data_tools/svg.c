#include "data_tools/svg.h"

#include "data/utf8.h"

#include <string.h>

static void keep(svg *s, fl_status status)
{
    if (s->status == FL_OK) s->status = status;
}

static void add(svg *s, const char *text)
{
    if (s->status == FL_OK) keep(s, fl_buf_add_text(&s->text, text));
}

#define ADDF(s, ...)                                                               \
    do {                                                                           \
        if ((s)->status == FL_OK) keep((s), fl_buf_addf(&(s)->text, __VA_ARGS__)); \
    } while (0)

/* XML has no way to write control characters and takes no bytes that are not UTF-8. */
static void add_escaped(svg *s, const char *text)
{
    for (size_t left = strlen(text), length; left > 0; left -= length, text += length) {
        bool valid;
        char c = text[0];
        length = fl_utf8_next(text, left, &valid);
        if (c == '<' || c == '>' || c == '&' || c == '"')
            ADDF(s, "&#%d;", c);
        else if (!valid || (c >= 0 && c < ' ') || c == 0x7f)
            add(s, FL_UTF8_REPLACEMENT);
        else
            ADDF(s, "%.*s", (int)length, text);
    }
}

void svg_begin(svg *s, int width, int height)
{
    ADDF(s,
         "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
         "height=\"%d\" font-family=\"sans-serif\">\n",
         width, height, width, height);
    svg_rect(s, 0, 0, width, height, "#ffffff");
}

void svg_end(svg *s)
{
    add(s, "</svg>\n");
}

void svg_rect(svg *s, double x, double y, double width, double height, const char *colour)
{
    ADDF(s, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"/>\n", x, y,
         width, height, colour);
}

void svg_line(svg *s, double x1, double y1, double x2, double y2, const char *colour)
{
    ADDF(s, "<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" stroke=\"%s\"/>\n", x1, y1, x2,
         y2, colour);
}

void svg_text(svg *s, double x, double y, svg_anchor anchor, int size, const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    ADDF(s, "<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\" font-size=\"%d\" fill=\"#222222\">", x,
         y, anchors[anchor], size);
    add_escaped(s, text);
    add(s, "</text>\n");
}

void svg_text_up(svg *s, double x, double y, int size, const char *text)
{
    ADDF(s,
         "<text transform=\"translate(%.2f %.2f) rotate(-90)\" text-anchor=\"middle\" "
         "font-size=\"%d\" fill=\"#222222\">",
         x, y, size);
    add_escaped(s, text);
    add(s, "</text>\n");
}
