/* Drawings as SVG text.  A failure is kept in `status` and makes all further calls do nothing, so
 * that who draws need not ask after every line.  Units are those of the viewBox. */
#ifndef DATA_TOOLS_SVG_H
#define DATA_TOOLS_SVG_H

#include "base/buf.h"

typedef struct svg {
    fl_buf text;
    fl_status status;
} svg;

typedef enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END } svg_anchor;

void svg_begin(svg *s, int width, int height);
void svg_end(svg *s);
void svg_rect(svg *s, double x, double y, double width, double height, const char *colour);
void svg_line(svg *s, double x1, double y1, double x2, double y2, const char *colour);
/* `text` may be any UTF-8 text. */
void svg_text(svg *s, double x, double y, svg_anchor anchor, int size, const char *text);
void svg_text_up(svg *s, double x, double y, int size, const char *text); /* turned to the left */

#endif
