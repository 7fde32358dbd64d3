/* A turn of a conversation: what data sets hold and conversation formats render. */
#ifndef FL_DATA_TURN_H
#define FL_DATA_TURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fl_role { FL_ROLE_SYSTEM, FL_ROLE_USER, FL_ROLE_ASSISTANT, FL_ROLE_TOOL } fl_role;

typedef struct fl_turn {
    fl_role role;
    bool trains;      /* the loss counts it; only ever true for the assistant */
    const char *text; /* UTF-8, closed with a zero byte that is not counted */
    size_t length;    /* bytes */
} fl_turn;

/* Bytes [begin, end) of a text of less than 4 GiB. */
typedef struct fl_span {
    uint32_t begin, end;
} fl_span;

#endif
