#include "fed/algorithm.h"

#include <string.h>

static const fl_algorithm *const algorithms[] = {
    &fl_algorithm_fedavg,
    &fl_algorithm_local,
};

fl_status fl_algorithm_find(const fl_algorithm **out, const char *fed_alg)
{
    char names[256] = "";
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        const char *name = algorithms[i]->name;
        size_t length = strlen(name);
        const char *rest = fed_alg + length;
        if (strncmp(fed_alg, name, length) == 0 && strspn(rest, "0123456789") == strlen(rest)) {
            *out = algorithms[i];
            return FL_OK;
        }
        strncat(names, i ? ", " : "", sizeof names - strlen(names) - 1);
        strncat(names, name, sizeof names - strlen(names) - 1);
    }
    FL_FAIL(FL_ERR_USAGE, "fed_alg = \"%s\" is none of %s", fed_alg, names);
}
