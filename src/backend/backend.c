#include "backend/ops.h"

#include <string.h>

/* Best first: the first one is what "auto" means. */
static const fl_backend_ops *const backends[] = {&fl_backend_cpu};

const fl_backend_ops *fl_backend_find(const char *name)
{
    if (strcmp(name, "auto") == 0) return backends[0];
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (strcmp(name, backends[i]->name) == 0) return backends[i];
    }
    return NULL;
}
